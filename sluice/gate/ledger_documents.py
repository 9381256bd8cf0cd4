"""The ledger's document: every question to one holdout, in order. Pure: documents in, documents out."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.errors import StateError


class Part(BaseModel):
    """One part of the document: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GateRule(Part):
    """By which numbers a question is answered.

    Attributes:
        margin: By how much the challenger must be better.
        alpha: Chance of one false promotion over the budget.
        budget: Questions that alpha is split over.
    """

    margin: float
    alpha: float
    budget: int


class Question(Part):
    """What is asked of a holdout; an equal question is the same one.

    Attributes:
        challenger: Digest of the challenger.
        champion: Digest of the champion; None where there is none.
        rule: The gate's numbers; None where they were not given. A challenger that is asked about again with another margin
            is a new question: answers to many margins would tell the score.
    """

    challenger: Annotated[str, Field(min_length=1)]
    champion: Annotated[str, Field(min_length=1)] | None
    rule: GateRule | None = None


class LedgerEntry(Part):
    """One question and its place in the order.

    Attributes:
        holdout: Digest of the holdout that was asked.
        question: What was asked.
        uses: Which question to this holdout it is, from 1.
        asked: When it was first asked, seconds since the epoch.
        decision: The gate's public answer; None until it was given.
        repeated: It had been asked before; this time costs nothing. Not stored.
    """

    holdout: str
    question: Question
    uses: Annotated[int, Field(ge=1)]
    asked: float
    decision: dict[str, Any] | None = None
    repeated: Annotated[bool, Field(exclude=True)] = False


class LedgerDocument(Part):
    """All questions to one holdout.

    Attributes:
        version: Rises by one with every change; 0 is a document that was never written.
        holdout: Digest of the holdout.
        entries: In the order asked.
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
        """The entry of this question; None when it was never asked."""
        return next((entry for entry in self.entries if entry.question == question), None)


def plan_use(document: LedgerDocument, question: Question, *, now: float) -> tuple[LedgerDocument, LedgerEntry]:
    """Count a question: a new one is added at the end, one that was asked before changes nothing.

    Args:
        document: The questions so far.
        question: The present one.
        now: Seconds since the epoch.

    Raises:
        StateError: The holdout was promised another alpha or budget before.
    """
    known = document.find(question)
    if known:
        return document, known.model_copy(update={"repeated": True})
    _check_promise(document, question)
    entry = LedgerEntry(holdout=document.holdout, question=question, uses=len(document.entries) + 1, asked=now)
    return _change(document, (*document.entries, entry)), entry


def plan_answer(document: LedgerDocument, question: Question, decision: dict[str, Any]) -> LedgerDocument:
    """Keep the answer to a question; the first one that was given stays.

    Raises:
        StateError: The question was never asked.
    """
    known = document.find(question)
    if known is None:
        raise StateError(
            f"the ledger of holdout {document.holdout} has no question about challenger {question.challenger}",
            hint="Record the question before its answer.",
        )
    if known.decision is not None:
        return document
    answered = known.model_copy(update={"decision": decision})
    return _change(document, tuple(answered if entry is known else entry for entry in document.entries))


def _change(document: LedgerDocument, entries: tuple[LedgerEntry, ...]) -> LedgerDocument:
    return LedgerDocument(version=document.version + 1, holdout=document.holdout, entries=entries)


def _check_promise(document: LedgerDocument, question: Question) -> None:
    """Alpha and the budget are a promise about all questions to a holdout: changed midway, it would not hold for any."""
    promised = next((entry.question.rule for entry in document.entries if entry.question.rule), None)
    asked = question.rule
    if promised and asked and (promised.alpha, promised.budget) != (asked.alpha, asked.budget):
        raise StateError(
            f"holdout {document.holdout} was first asked with gate.alpha {promised.alpha:g} and gate.budget {promised.budget}, "
            f"now they are {asked.alpha:g} and {asked.budget}",
            hint="Restore both in sluice.toml, or rotate the holdout: the promise holds for all of its questions or for none.",
        )
