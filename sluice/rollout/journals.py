"""The journal as a JSON document, and the protocol of the places that store it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic import TypeAdapter

from sluice.errors import ServiceError
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.decisions.states import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.rollout.clocks import Clock

JOURNAL: TypeAdapter[Journal] = TypeAdapter(Journal)
CHECKPOINT: TypeAdapter[Checkpoint] = TypeAdapter(Checkpoint)


class ConflictError(ServiceError):
    """Another process wrote the journal since it was read. Read it again, and decide on what it contains now."""


class JournalStore(Protocol):
    """Stores a journal and what belongs to it, in files or in annotations of a cluster's objects.

    Attributes:
        clock: The time that everybody who writes into the journal uses. In a cluster it is the API server's.
        poll_seconds: The pause between two looks, for a caller that waits for a change.
        absence_seconds: How long a caller that waits for an outcome tolerates that no supervisor or controller is running.
    """

    clock: Clock
    poll_seconds: float
    absence_seconds: float

    def read(self) -> Journal:
        """Return the journal; an empty one if none was ever written."""

    def update(self, change: Callable[[Journal], Journal]) -> Journal:
        """Read, change and write the journal in one step.

        Args:
            change: Returns the changed journal. It returns its argument to change nothing, and raises an error to refuse.
        """

    def identify(self, by: str) -> str:
        """Return the name in which this process requests and commands: in a cluster its account, otherwise `by`.

        Args:
            by: The name that the person states.

        Raises:
            ServiceError: The API server does not say which account this is.
        """

    def is_supervised(self) -> bool:
        """Return whether a supervisor or a controller acts on the journal."""

    def read_status(self) -> dict[str, Any]:
        """Return the status that the supervisor or controller wrote last; empty if there is none."""

    def read_samples(self, start: float, end: float) -> list[dict[str, Any]]:
        """Return the samples between two times, oldest first."""


def build_document(journal: Journal) -> dict[str, Any]:
    """Return a journal as plain JSON types.

    The keys ``champion`` and ``previous`` follow from the history. They are there for people and programs that read the document.
    """
    document: dict[str, Any] = JOURNAL.dump_python(journal, mode="json", by_alias=True)
    return document | {"champion": journal.champion, "previous": journal.previous}


def find_newest_time(journal: Journal) -> float:
    """Return the newest time at which something in the journal happened, in seconds since the epoch; 0 if nothing did."""
    times = [term.at for term in journal.history] + [approval.at for approval in journal.approvals]
    times += [max(one.time, one.decided_at, one.applied_at or 0.0) for one in journal.transitions]
    times += [one.ended for one in journal.rollouts] + [one.at for one in (journal.request, journal.command) if one]
    return max(times, default=0.0)


def dump_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as JSON, with the keys of stored checkpoints."""
    return CHECKPOINT.dump_json(checkpoint, by_alias=True)
