"""The ledger's document: every question to one holdout, in order. The functions here are pure and return changed copies."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.errors import StateError


class LedgerPart(BaseModel):
    """A part of the document. It is immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GateRule(LedgerPart):
    """The numbers by which the gate answers a question.

    Attributes:
        margin: The difference of AUCs that the challenger must exceed.
        alpha: The probability of one false promotion over the budget.
        budget: The number of questions that alpha is divided by.
    """

    margin: float
    alpha: float
    budget: int


class Question(LedgerPart):
    """What the gate is asked. Two equal questions are the same question.

    Attributes:
        challenger: The digest of the challenger.
        champion: The digest of the champion. None if there is no champion.
        rule: The gate's numbers. None if they were not given. The same challenger with another margin is a new question, because
            the answers to many margins would reveal the score.
    """

    challenger: Annotated[str, Field(min_length=1)]
    champion: Annotated[str, Field(min_length=1)] | None
    rule: GateRule | None = None


class LedgerEntry(LedgerPart):
    """One question and its position in the order of questions.

    Attributes:
        holdout: The digest of the holdout that was asked.
        question: The question.
        uses: The number of this question to this holdout, from 1.
        asked: The time of the first asking, in seconds since the epoch.
        decision: The gate's public answer. None until it is known.
        repeated: Whether the question had been asked before, so that this time is not counted. Not stored.
    """

    holdout: str
    question: Question
    uses: Annotated[int, Field(ge=1)]
    asked: float
    decision: dict[str, Any] | None = None
    repeated: Annotated[bool, Field(exclude=True)] = False


class LedgerDocument(LedgerPart):
    """All questions to one holdout.

    Attributes:
        version: It rises by one with every change. A document that was never written has version 0.
        holdout: The digest of the holdout.
        entries: The questions in the order in which they were asked.
    """

    version: Annotated[int, Field(ge=0)] = 0
    holdout: str
    entries: tuple[LedgerEntry, ...] = ()

    @model_validator(mode="after")
    def _counts_up(self) -> Self:
        if [entry.uses for entry in self.entries] != list(range(1, len(self.entries) + 1)):
            raise ValueError("the entries' uses must count up from 1")
        if any(entry.holdout != self.holdout for entry in self.entries):
            raise ValueError("an entry belongs to another holdout")
        return self

    def find(self, question: Question) -> LedgerEntry | None:
        """Return the entry of a question, or None if it was never asked."""
        return next((entry for entry in self.entries if entry.question == question), None)


def plan_question(document: LedgerDocument, question: Question, *, now: float) -> tuple[LedgerDocument, LedgerEntry]:
    """Count a question. A new question is added at the end, and a repeated question changes nothing.

    Args:
        document: The questions so far.
        question: The question to count.
        now: The time in seconds since the epoch.

    Returns:
        The changed document and the question's entry.

    Raises:
        StateError: Earlier questions to this holdout used another alpha or budget.
    """
    known = document.find(question)
    if known:
        return document, known.model_copy(update={"repeated": True})
    _check_same_rule(document, question)
    entry = LedgerEntry(holdout=document.holdout, question=question, uses=len(document.entries) + 1, asked=now)
    return _change(document, (*document.entries, entry)), entry


def plan_answer(document: LedgerDocument, question: Question, decision: dict[str, Any]) -> LedgerDocument:
    """Store the answer to a question. If it already has an answer, that answer stays.

    Raises:
        StateError: The question was never asked.
    """
    known = document.find(question)
    if known is None:
        raise StateError(
            f"the ledger of holdout {document.holdout} has no question about challenger {question.challenger}",
            hint="Record the question before you save its answer.",
        )
    if known.decision is not None:
        return document
    answered = known.model_copy(update={"decision": decision})
    return _change(document, tuple(answered if entry is known else entry for entry in document.entries))


def _change(document: LedgerDocument, entries: tuple[LedgerEntry, ...]) -> LedgerDocument:
    return LedgerDocument(version=document.version + 1, holdout=document.holdout, entries=entries)


def _check_same_rule(document: LedgerDocument, question: Question) -> None:
    """Check that alpha and budget are those of the earlier questions.

    The bound on false promotions covers all questions to a holdout, so it holds only if both numbers never change.
    """
    first = next((entry.question.rule for entry in document.entries if entry.question.rule), None)
    asked = question.rule
    if first and asked and (first.alpha, first.budget) != (asked.alpha, asked.budget):
        raise StateError(
            f"holdout {document.holdout} was first asked with gate.alpha {first.alpha:g} and gate.budget {first.budget}, "
            f"but now they are {asked.alpha:g} and {asked.budget}",
            hint="Restore both settings in sluice.toml, or replace the holdout. Both numbers must be the same for all questions.",
        )
