"""The time in which one controller acts: it begins by stopping every earlier one, and it ends with the lease.

A lease alone does not stop a controller that was paused and still believes that it holds the lease. Therefore a controller that
begins to act writes its epoch into all objects. An earlier one can then write over none of them, because each of its writes
applies only to the version that it read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import ServiceError
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.journals import CHECKPOINT
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.leases.lease_locks import EVIDENCE_ANNOTATION
from sluice.rollout.platforms.seldon.objects.epochs import ROLLOUT_MANAGER, build_metadata, read_annotated_epoch
from sluice.rollout.platforms.seldon.resources.rollout_statuses import read_epoch, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal


class SupersededError(ServiceError):
    """A controller with a later epoch has written, so this one must not write any more."""


@dataclass(slots=True)
class Tenure:
    """Whether one controller acts.

    Attributes:
        journal: The journal of the project.
        lock: The lease of this controller.
        notify: Called with each event, one line of text.
        warn: Called with the reason and the text of each event that people should see.
        epoch: The epoch with which this controller acts; 0 while it does not act.
    """

    journal: SeldonJournal
    lock: LeaseLock
    notify: Callable[[str], object]
    warn: Callable[[str, str], object]
    epoch: int = 0
    _claimed: int = field(default=0)

    def may_write(self) -> bool:
        """Return whether this controller may write now. A round that took longer than the lease may not."""
        return self.lock.is_held and self.lock.epoch == self._claimed

    def begin(self, annotations: Mapping[str, str]) -> Checkpoint | None:
        """Begin to act, if this controller has just acquired the lease: stop every earlier controller.

        Args:
            annotations: What a renewal of the lease writes.

        Returns:
            The evidence that the controller before has stored; None if this controller did act already, or does not act now.

        Raises:
            ConflictError: Another controller has acquired the lease.
            ServiceError: The API server does not answer, or refuses.
        """
        if self.lock.renewal_due:
            self.lock.acquire(annotations)
        if not self.lock.is_held:
            self.epoch = self.epoch if self.lock.epoch == self.epoch else 0
            return None
        if self.epoch == self.lock.epoch:
            return None
        self._claimed = self.lock.epoch
        checkpoint, taken_from = self._read_checkpoint(), self.lock.taken_from
        self._write_epoch()
        self.epoch = self._claimed = self.lock.epoch
        self.notify(f"holding the lease {self.lock.name}, epoch {self.lock.epoch}")
        if taken_from:
            text = f"{self.lock.holder} took over from {taken_from}, which did not renew the lease for {self.lock.seconds:g} s"
            self.warn("LeaseTakenOver", text)
        return checkpoint

    @property
    def acts(self) -> bool:
        """Whether this controller acts now."""
        return bool(self.epoch) and self.epoch == self.lock.epoch and self.lock.is_held

    def refuse_superseded(self, *found: Mapping[str, Any] | None, rollout: Mapping[str, Any]) -> None:
        """Stop acting if a later controller has written one of these objects.

        Raises:
            SupersededError: It has.
        """
        later = max(read_epoch(rollout), *map(read_annotated_epoch, found))
        if later > self.lock.epoch:
            self.lock.give_up()
            self.epoch = self._claimed = 0
            raise SupersededError(
                f"a controller with the later epoch {later} has taken over", hint="This controller waits for the lease."
            )

    def _read_checkpoint(self) -> Checkpoint:
        try:
            return CHECKPOINT.validate_json(self.lock.annotations.get(EVIDENCE_ANNOTATION, ""))
        except ValidationError:
            return Checkpoint()  # the evidence is collected again

    def _write_epoch(self) -> None:
        """Write the epoch into all objects, so that an earlier lease holder can no longer write over what it read of them."""
        cluster, name = self.journal.cluster, self.journal.name
        rollout = cluster.get(MODEL_ROLLOUT, name)
        objects = {}
        for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
            objects[kind] = cluster.get(kind, name)
        highest = max(read_epoch(rollout), *map(read_annotated_epoch, objects.values()))
        if highest >= self.lock.epoch:
            self.lock.raise_epoch(highest + 1)
            self._claimed = self.lock.epoch
        if rollout is not None and (journal := read_journal(rollout)) is not None:
            self.journal.write_status(journal, rollout, epoch=self.lock.epoch)
        for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
            if (found := objects[kind]) is not None:
                metadata = build_metadata(found, self.lock.epoch)
                cluster.merge(kind, name, {"metadata": metadata}, manager=ROLLOUT_MANAGER)
