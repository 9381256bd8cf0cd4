"""The ledger's document: everything that the gate was asked and told, as one chain of records. The functions here are pure.

Each record contains the link of the record before it, and its own link is the SHA-256 of its contents. So a record cannot be
removed, changed or moved without changing all links after it. The link of a question goes into the gate's decision, into the
release's manifest and into the rollout journal. If the ledger no longer contains it there, the ledger was deleted or shortened.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.data.row_sets import RowSet
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
        gate_fraction: The share of the holdout's rows that are gate rows. None in questions of earlier versions.
    """

    margin: float
    alpha: float
    budget: int
    gate_fraction: float | None = None


class Question(LedgerPart):
    """What the gate is asked. Two equal questions are the same question.

    The answer follows from the labels, from the scores of both models and from the rule, and all of these are part of the
    question. Whatever changes the scores (the model, the code that makes the features, a library) therefore makes another
    question.

    Attributes:
        challenger: The digest of the challenger's model.
        champion: The digest of the champion. None if there is no champion.
        rule: The gate's numbers. None in some questions of earlier versions. The same challenger with another margin is a new
            question, because the answers to many margins would reveal the score.
        row_set: The digest of the holdout's row set. Empty in questions of earlier versions.
        gate_rows: The digest of the ids of the gate rows.
        scores: The digest of the challenger's scores with the ids of their rows.
        champion_scores: The same for the champion. Empty if there is no champion.
    """

    challenger: Annotated[str, Field(min_length=1)]
    champion: Annotated[str, Field(min_length=1)] | None
    rule: GateRule | None = None
    row_set: str = ""
    gate_rows: str = ""
    scores: str = ""
    champion_scores: str = ""


class _Record(LedgerPart):
    """A record of the chain.

    Attributes:
        at: When it was written, in seconds since the epoch.
        link: The SHA-256 of the link before and of this record's other fields, ``sha256:…``.
    """

    at: float
    link: str = ""


class RowSetRecord(_Record):
    """A row set that the ledger sees for the first time in the file with the digest `holdout`."""

    kind: Literal["row-set"] = "row-set"
    holdout: str
    digest: str
    rows: int
    positives: int
    sketch: tuple[int, ...]


class QuestionRecord(_Record):
    """A question. It counts from here on, whether or not it gets an answer.

    Attributes:
        holdout: The digest of the holdout's bytes at that time.
        question: The question.
        uses: The number of questions that counted then, with this one.
    """

    kind: Literal["question"] = "question"
    holdout: str
    question: Question
    uses: Annotated[int, Field(ge=1)]


class AnswerRecord(_Record):
    """The gate's public answer to the question with the link `question`."""

    kind: Literal["answer"] = "answer"
    question: str
    decision: dict[str, Any]


class RotationRecord(_Record):
    """A person replaced the row set `old` by the row set `new`, and said why."""

    kind: Literal["rotation"] = "rotation"
    old: str
    new: str
    by: str
    why: str


class OverrideRecord(_Record):
    """A person let a model pass the gate until a certain time, and said why. The gate's own answer stays.

    Attributes:
        model: The digest of the model, as the gate's question names the challenger.
        scores: The digest of its scores, as the question names them. Other feature code under the same model file gives other
            scores, so the override does not hold for it. An override of earlier versions names none, and is valid no more.
        by: The person.
        why: The reason, in the person's own words.
        until: When the override expires, in seconds since the epoch.
    """

    kind: Literal["override"] = "override"
    model: str
    scores: str = ""
    by: str
    why: str
    until: float


class LossRecord(_Record):
    """A person confirmed that earlier records are lost. The row set, and all that share rows with it, answer no more questions.

    Attributes:
        row_set: The digest of the row set in use.
        links: The links that were missing. They are not asked for again.
        by: The person.
        why: What happened, in the person's own words.
    """

    kind: Literal["loss"] = "loss"
    row_set: str
    links: tuple[str, ...]
    by: str
    why: str


class ChampionLossRecord(_Record):
    """A person confirmed that the rollout journal lost the champion. The next model is then a first champion again.

    Attributes:
        champion: The digest of the champion that the ledger knew last.
        by: The person.
        why: What happened, in the person's own words.
    """

    kind: Literal["champion-loss"] = "champion-loss"
    champion: str
    by: str
    why: str


class AcceptedRowsRecord(_Record):
    """A person confirmed that the loader reads other rows or labels from the same file on purpose.

    Attributes:
        row_set: The digest of the row set that the loader reads now.
        by: The person.
        why: The reason, in the person's own words.
    """

    kind: Literal["accepted-rows"] = "accepted-rows"
    row_set: str
    by: str
    why: str


AnyRecord: TypeAlias = (
    RowSetRecord
    | QuestionRecord
    | AnswerRecord
    | RotationRecord
    | OverrideRecord
    | LossRecord
    | ChampionLossRecord
    | AcceptedRowsRecord
)


class LedgerDocument(LedgerPart):
    """The whole ledger, oldest record first. `sluice.gate.earlier_ledgers` reads version 1: a document for each file."""

    version: Literal[2] = 2
    records: tuple[Annotated[AnyRecord, Field(discriminator="kind")], ...] = ()

    @model_validator(mode="after")
    def _check_chain(self) -> Self:
        before = ""
        for place, record in enumerate(self.records, start=1):
            if record.link != compute_link(before, record):
                raise ValueError(f"record {place} of {len(self.records)} does not follow from the record before it")
            before = record.link
        return self

    @property
    def head(self) -> str:
        """The link of the last record; empty if there is none."""
        return self.records[-1].link if self.records else ""

    def contains(self, link: str) -> bool:
        """Return whether a record has this link, or a person has confirmed that it is lost."""
        return any(record.link == link or (isinstance(record, LossRecord) and link in record.links) for record in self.records)

    def find_link(self, link: str) -> AnyRecord | None:
        """Return the record with this link; None if there is none."""
        return next((record for record in self.records if record.link == link), None) if link else None

    def questions(self) -> tuple[QuestionRecord, ...]:
        """Return all questions in order."""
        return tuple(record for record in self.records if isinstance(record, QuestionRecord))

    def find_champion(self) -> str | None:
        """Return the champion of the last question that had one. None if there is none, or if a person confirmed its loss since.

        A model that the gate promoted as the first one is not a champion before another model was compared with it, because it
        may never have been rolled out.
        """
        for record in reversed(self.records):
            if isinstance(record, ChampionLossRecord):
                return None
            if isinstance(record, QuestionRecord) and record.question.champion is not None:
                return record.question.champion
        return None

    def find_question(self, question: Question) -> QuestionRecord | None:
        """Return the record of a question, or None if it was never asked."""
        return next((record for record in self.questions() if record.question == question), None)

    def was_asked(self, challenger: str) -> bool:
        """Return whether a question was about this challenger."""
        return any(record.question.challenger == challenger for record in self.questions())

    def find_answer(self, link: str) -> dict[str, Any] | None:
        """Return the stored answer to the question with this link; None if there is none."""
        answers = (record for record in self.records if isinstance(record, AnswerRecord))
        return next((record.decision for record in answers if record.question == link), None)

    def files(self) -> tuple[tuple[str, str], ...]:
        """Return the digest of each known file of a holdout, with the digest of its row set."""
        return tuple((record.holdout, record.digest) for record in self.records if isinstance(record, RowSetRecord))

    def row_sets(self) -> tuple[RowSet, ...]:
        """Return all known row sets in the order in which they were first seen."""
        records = (record for record in self.records if isinstance(record, RowSetRecord))
        return tuple(RowSet(digest=one.digest, rows=one.rows, positives=one.positives, sketch=one.sketch) for one in records)

    def overrides(self, now: float) -> tuple[OverrideRecord, ...]:
        """Return the overrides that are valid now, in order."""
        records = (record for record in self.records if isinstance(record, OverrideRecord))
        return tuple(record for record in records if record.scores and record.at <= now < record.until)

    def find_override(self, model: str, scores: str, now: float) -> OverrideRecord | None:
        """Return the override of a model with these scores that expires last, if it has not expired yet."""
        valid = [record for record in self.overrides(now) if (record.model, record.scores) == (model, scores)]
        return max(valid, key=lambda record: record.until, default=None)

    def find_scores(self, model: str) -> str:
        """Return the digest of the scores with which the gate was asked about a model.

        Raises:
            StateError: It was not asked about this model, or with different scores. Then a person must name the scores.
        """
        found = {record.question.scores for record in self.questions() if record.question.challenger == model} - {""}
        if len(found) == 1:
            return found.pop()
        asked = f"was asked about it with {len(found)} different scores" if found else "was not asked about it"
        raise StateError(
            f"it is not clear which scores of model {model[:19]} the override is for: the gate {asked}",
            hint="Name the scores: the record of the run shows the command with --scores.",
        )


def compute_link(before: str, record: AnyRecord) -> str:
    """Return the link of a record that follows the record with the link `before`."""
    contents = record.model_dump(mode="json", exclude={"link"}, exclude_defaults=True) | {"kind": record.kind, "before": before}
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def append(document: LedgerDocument, *records: AnyRecord) -> LedgerDocument:
    """Return the document with further records, each linked to the one before it."""
    chain = list(document.records)
    for record in records:
        before = chain[-1].link if chain else ""
        chain.append(record.model_copy(update={"link": compute_link(before, record)}))
    return LedgerDocument(records=tuple(chain))


def record_row_set(document: LedgerDocument, row_set: RowSet, *, holdout: str, now: float) -> LedgerDocument:
    """Return the document that knows this row set in the file with this digest."""
    if (holdout, row_set.digest) in document.files():
        return document
    record = RowSetRecord(
        at=now, holdout=holdout, digest=row_set.digest, rows=row_set.rows, positives=row_set.positives, sketch=row_set.sketch
    )
    return append(document, record)


def record_answer(document: LedgerDocument, link: str, decision: dict[str, Any], *, now: float) -> LedgerDocument:
    """Return the document with the answer to a question. If there is an answer already, it stays.

    Raises:
        StateError: No question has this link.
    """
    if not any(record.link == link for record in document.questions()):
        raise StateError(
            "the ledger has no question to which this answer belongs", hint="Record the question before you save its answer."
        )
    if document.find_answer(link) is not None:
        return document
    return append(document, AnswerRecord(at=now, question=link, decision=decision))
