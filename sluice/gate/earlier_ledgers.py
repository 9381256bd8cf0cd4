"""Take over the ledgers of earlier versions: one document for each file of a holdout, keyed by the digest of its bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice.gate.ledger_documents import AnswerRecord, LedgerDocument, Question, QuestionRecord, append

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    holdout: str
    question: Question
    uses: int = Field(ge=1)
    asked: float
    decision: dict[str, Any] | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    holdout: str
    entries: tuple[_Entry, ...] = ()


def take_over(documents: Iterable[bytes]) -> LedgerDocument:
    """Return one ledger with every question and answer of earlier ledgers, oldest first.

    Raises:
        ValueError: A document is damaged.
    """
    entries: list[_Entry] = []
    for text in documents:
        try:
            entries += _Document.model_validate_json(text).entries
        except ValidationError as error:
            raise ValueError(f"an earlier ledger is damaged: {error.errors()[0]['msg']}") from error
    taken = LedgerDocument()
    for entry in sorted(entries, key=lambda one: (one.asked, one.holdout, one.uses)):
        taken = append(taken, QuestionRecord(at=entry.asked, holdout=entry.holdout, question=entry.question, uses=entry.uses))
        if entry.decision is not None:
            taken = append(taken, AnswerRecord(at=entry.asked, question=taken.head, decision=entry.decision))
    return taken
