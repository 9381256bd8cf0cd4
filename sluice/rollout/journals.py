"""The journal as a document, and the protocol of the places that store it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic import TypeAdapter

from sluice.errors import ServiceError
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.decisions.states import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

JOURNAL: TypeAdapter[Journal] = TypeAdapter(Journal)
CHECKPOINT: TypeAdapter[Checkpoint] = TypeAdapter(Checkpoint)


class ConflictError(ServiceError):
    """Somebody else wrote the journal since it was read; read it again and decide anew."""


class JournalStore(Protocol):
    """Where a journal is kept, and what is said beside it: a file, or annotations in a cluster.

    Attributes:
        poll_seconds: How long one who waits for a change lets pass between two looks.
        absence_seconds: How long one who waits for an outcome waits for somebody who acts to come back.
    """

    poll_seconds: float
    absence_seconds: float

    def read(self) -> Journal:
        """The journal; an empty one where nothing was ever written."""

    def update(self, change: Callable[[Journal], Journal]) -> Journal:
        """Read, change and write as one; `change` may raise to refuse, and gives back what it got to change nothing."""

    def is_supervised(self) -> bool:
        """Whether anybody is there who acts on it."""

    def read_status(self) -> dict[str, Any]:
        """What whoever acts last said."""

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """The samples between two times, oldest first."""


def plan_document(journal: Journal) -> dict[str, Any]:
    """A journal as plain JSON types. Champion and previous follow from the history; they are written for whoever reads it."""
    document: dict[str, Any] = JOURNAL.dump_python(journal, mode="json", by_alias=True)
    return document | {"champion": journal.champion, "previous": journal.previous}


def dump_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as JSON, with the keys of stored checkpoints."""
    return CHECKPOINT.dump_json(checkpoint, by_alias=True)
