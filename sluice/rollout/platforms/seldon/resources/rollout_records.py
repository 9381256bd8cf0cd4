"""The ModelRollout of one controller: what it reads of it in each round, and what it writes into its status."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import Journal
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest
from sluice.rollout.platforms.seldon.objects.renderings import adopt_deployment, read_renderings
from sluice.rollout.platforms.seldon.resources.rollout_journals import STATUS_MANAGER
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_replicas
from sluice.rollout.platforms.seldon.resources.rollout_statuses import Report, read_journal
from sluice.rollout.platforms.seldon.resources.takeovers import (
    CHAMPIONS_ANNOTATION,
    OLD_ANNOTATIONS,
    dump_champions,
    find_earlier_journal,
    recall_champions,
    refuse_recall,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.clocks import Clock
    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal

_ATTEMPTS = 5
"""So many times a decision is written while others write the ModelRollout too."""

PUBLICATION_SECONDS = 5.0
"""If only numbers changed, the status is written after this time. Anything else is written at once."""


@dataclass(slots=True)
class RolloutRecords:
    """Reads and writes the ModelRollout of one project.

    Attributes:
        journal: The journal of the project.
        lock: The lease of this controller.
        notify: Called with each event, one line of text.
        clock: Time.
        warn: Called with the reason and the text of each event that people should see.
    """

    journal: SeldonJournal
    lock: LeaseLock
    notify: Callable[[str], object]
    clock: Clock
    warn: Callable[[str, str], object] = lambda _reason, _text: None
    _remembered: tuple[int, Journal, Mapping[str, Any]] | None = None
    _published: tuple[Report, float] = (Report(), 0.0)

    def read(self) -> Mapping[str, Any] | None:
        """Return the ModelRollout; None if there is none.

        If it has no journal although production runs, the journal is restored first: from what this controller remembers, from
        the Lease, or from the annotation in which an earlier version of Sluice kept it.

        Raises:
            DataError: That journal cannot be read, or it is not certain which release is the champion.
            ServiceError: The API server does not answer, or refuses.
        """
        cluster, name = self.journal.cluster, self.journal.name
        rollout = cluster.get(MODEL_ROLLOUT, name)
        if read_journal(rollout) is not None:
            return rollout
        deployment = cluster.get(SELDON_DEPLOYMENT, name)
        if deployment is None:
            self._remembered = None  # somebody removed the model as a whole
            return rollout
        earlier = find_earlier_journal(deployment)
        if earlier is None:
            return self._restore(rollout, deployment)
        if rollout is None:
            rollout = cluster.create(MODEL_ROLLOUT, {"metadata": {"name": name}, "spec": {}}, manager=STATUS_MANAGER)
        adopted = adopt_deployment(deployment)
        rollout = self.journal.write_status(earlier, rollout, epoch=self.lock.epoch, renderings=adopted)
        self.notify("the journal in the annotations of the SeldonDeployment was taken over into the ModelRollout")
        patch = {"metadata": {"annotations": dict.fromkeys(OLD_ANNOTATIONS)}}
        cluster.merge(SELDON_DEPLOYMENT, name, patch, manager=STATUS_MANAGER)
        return rollout

    def _restore(self, rollout: Mapping[str, Any] | None, deployment: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Write the journal again that was lost with the ModelRollout. Return the ModelRollout; None if there never was one."""
        cluster, name = self.journal.cluster, self.journal.name
        report, replicas = Report(), 0
        if self._remembered is not None and self._remembered[0] == self.lock.epoch:
            _, journal, before = self._remembered
            renderings, replicas = read_renderings(before), read_replicas(before)
            report, source = self._published[0], "what the controller remembers"
        elif recalled := recall_champions(self.lock.annotations.get(CHAMPIONS_ANNOTATION, ""), deployment):
            (journal, renderings), source = recalled, "the record of champion and N-1 in the Lease"
            replicas = _find_replicas(journal, deployment)
        elif rollout is None and any(one.get("traffic") for one in deployment["spec"].get("predictors") or []):
            raise refuse_recall(deployment, "the Lease has no record of it")
        else:
            return rollout
        if rollout is None:
            spec = {"replicas": replicas} if replicas else {}
            rollout = cluster.create(MODEL_ROLLOUT, {"metadata": {"name": name}, "spec": spec}, manager=STATUS_MANAGER)
        restored = self.journal.write_status(journal, rollout, epoch=self.lock.epoch, report=report, renderings=renderings)
        self.warn("RolloutRestored", f"the ModelRollout {name} or its status was deleted; it was restored from {source}")
        return restored

    def remember(self, journal: Journal, rollout: Mapping[str, Any]) -> None:
        """Remember what a round ended with, so that it can be written again if somebody deletes it."""
        self._remembered = self.lock.epoch, dataclasses.replace(journal, approvals=()), rollout

    def describe_champions(self) -> dict[str, str]:
        """Return the annotation of the Lease that says which releases are champion and N-1; empty if that is not known."""
        remembered = self._remembered  # the thread that renews the lease calls this while a round replaces it
        if remembered is None or remembered[0] != self.lock.epoch or not remembered[1].history:
            return {}
        _, journal, rollout = remembered
        return {CHAMPIONS_ANNOTATION: dump_champions(journal, read_renderings(rollout))}

    def accept(self, journal: Journal, rollout: Mapping[str, Any]) -> tuple[Journal, Mapping[str, Any]]:
        """Write down a request or a command that the stored journal does not have yet, so that its time stays.

        If it cannot be written, the round goes on with it, because a rollback must not wait for storage.

        Args:
            journal: The journal with the request and the command of the spec.
            rollout: The ModelRollout that it was read from.

        Returns:
            The journal, and the ModelRollout as stored.

        Raises:
            ConflictError: Another process changed the ModelRollout.
        """
        stored = read_journal(rollout) or Journal()
        if dataclasses.replace(journal, approvals=()) == stored:
            return journal, rollout
        try:
            written = self.journal.write(journal, rollout, epoch=self.lock.epoch)
        except ConflictError:
            raise
        except ServiceError as error:
            self.notify(f"problem: {error}")
            return journal, rollout
        self.remember(*written)
        return written

    def write(self, journal: Journal, rollout: Mapping[str, Any]) -> tuple[Journal, Mapping[str, Any]]:
        """Write a decision, and return the journal and the ModelRollout as stored.

        If others changed only the metadata since, or the spec while the canary loses traffic, the decision still stands. Then it
        is written again at once, because a rollback must not wait for the next round. A new command is accepted by that round.

        Args:
            journal: The journal after the decision.
            rollout: The ModelRollout from which it was derived.

        Raises:
            ConflictError: The decision may not stand any more, or others write all the time.
            ServiceError: The API server does not answer, or refuses.
        """
        for attempt in range(_ATTEMPTS):
            try:
                written = self.journal.write(journal, rollout, epoch=self.lock.epoch)
            except ConflictError:
                found = self.journal.cluster.get(MODEL_ROLLOUT, self.journal.name)
                if attempt == _ATTEMPTS - 1 or found is None or not _still_stands(journal, rollout, found):
                    raise
                rollout = found
            else:
                self.remember(*written)
                return written
        raise AssertionError

    def publish(self, journal: Journal, rollout: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
        """Write what the round saw into the status, if it is new, and return the ModelRollout as stored.

        Nothing is decided by it, so an error does not matter.
        """
        now, (before, published_at) = self.clock.steady(), self._published
        is_behind = rollout["metadata"].get("generation") != (rollout.get("status") or {}).get("observedGeneration")
        differs = _without_numbers(report) != _without_numbers(before)
        if not (is_behind or differs or (report != before and now - published_at >= PUBLICATION_SECONDS)):
            return rollout
        with contextlib.suppress(ServiceError):
            rollout = self.journal.write_status(journal, rollout, epoch=self.lock.epoch, report=report)
            self._published = report, now
        return rollout


def _find_replicas(journal: Journal, deployment: Mapping[str, Any]) -> int:
    """Return the replicas that the champion has now, so that a restored ModelRollout does not scale it."""
    predictors = deployment["spec"].get("predictors") or []
    return next((int(one.get("replicas") or 0) for one in predictors if read_predictor_digest(one) == journal.champion), 0)


def _still_stands(journal: Journal, before: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether a decision may be written although the ModelRollout has changed since."""
    if (found.get("status") or {}) != (before.get("status") or {}) or found["metadata"]["uid"] != before["metadata"]["uid"]:
        return False
    stored = read_journal(before) or Journal()
    canary = stored.target or ""
    loses = bool(canary) and journal.weights.get(canary, 0) < stored.weights.get(canary, 0)
    return loses or found.get("spec") == before.get("spec")


def _without_numbers(report: Report) -> Report:
    """Return the parts of a report that do not change with each round."""
    return dataclasses.replace(report, evidence={}, message="")
