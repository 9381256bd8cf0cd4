"""What the controller writes into the SeldonDeployment: its predictors, their replicas and their share of the traffic."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.objects.epochs import EPOCH_ANNOTATION, ROLLOUT_MANAGER, read_annotated_epoch
from sluice.rollout.platforms.seldon.objects.predictors import build_deployment, build_spec, read_predictor_digest
from sluice.rollout.platforms.seldon.objects.renderings import plan_deployment, read_renderings, record_renderings
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sluice.project.settings import Settings
    from sluice.rollout.clocks import Clock
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.cluster_snapshots import ClusterSnapshot
    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal

_ATTEMPTS = 5
"""So many times a rollback writes the SeldonDeployment while others write it too."""


@dataclass(slots=True)
class DeploymentWriter:
    """Writes the SeldonDeployment of one project.

    Attributes:
        settings: The settings of the project.
        cluster: The namespace.
        journal: The journal of the project.
        lock: The lease of this controller.
        clock: Time.
        correct: Called with each change by others that was put right, one line of text.
    """

    settings: Settings
    cluster: Cluster
    journal: SeldonJournal
    lock: LeaseLock
    clock: Clock
    correct: Callable[[str], object]
    _last_traffic: dict[str, float] = field(default_factory=dict)

    def observe_traffic(self, snapshot: ClusterSnapshot) -> None:
        """Remember which releases have traffic, because they answer their last requests after they have lost it."""
        for release in snapshot.applied_weights or ():
            self._last_traffic[release] = self.clock.steady()

    def move_predictors(
        self, journal: Journal, snapshot: ClusterSnapshot, *, held_for_approval: bool, unverified: Collection[str] = ()
    ) -> Mapping[str, Any] | None:
        """Give the SeldonDeployment the journal's predictors and weights.

        Args:
            journal: The journal.
            snapshot: What this round read.
            held_for_approval: Whether the first release is not approved yet.
            unverified: Releases that get no server, because nobody has verified their signatures.

        Returns:
            The ModelRollout with what was rendered; None if nothing had to change.

        Raises:
            ConflictError: The SeldonDeployment has changed since it was read.
            ServiceError: The API server does not answer, or refuses.
        """
        renderings = read_renderings(snapshot.rollout)
        desired = plan_deployment(
            snapshot.deployment,
            journal,
            self.settings,
            renderings,
            spec=build_spec(self.settings),
            replicas=0 if held_for_approval else read_replicas(snapshot.rollout) or self.settings.seldon.replicas,
            draining=self._list_draining(journal, snapshot),
            unverified=unverified,
        )
        if not desired.differs:
            return None
        stored = self._write_deployment(build_deployment(self.settings, desired.spec, desired.predictors), snapshot.deployment)
        for correction in desired.corrections:
            self.correct(f"{correction}; it was put right")
        renderings = record_renderings(desired, stored, renderings)
        with contextlib.suppress(ServiceError):  # the traffic does not wait for it, and the next round writes both again
            return self.journal.write_status(journal, snapshot.rollout, epoch=self.lock.epoch, renderings=renderings)
        return snapshot.rollout

    def move_traffic(self, journal: Journal, snapshot: ClusterSnapshot) -> bool:
        """Set the shares of the traffic and nothing else; return whether they had to change.

        This needs no journal. If somebody wrote the SeldonDeployment meanwhile, it is read and written again, because a rollback
        must not wait.

        Raises:
            ConflictError: A controller with a later epoch has written it, or others write it all the time.
            ServiceError: The API server does not answer, or refuses.
        """
        live, weights = snapshot.deployment, journal.weights
        for attempt in range(_ATTEMPTS):
            if live is None:
                return False
            if read_annotated_epoch(live) > self.lock.epoch:
                raise ConflictError("a controller with a later epoch has written the SeldonDeployment")
            present = live["spec"].get("predictors") or []
            moved = [dict(one) | {"traffic": weights.get(read_predictor_digest(one), 0)} for one in present]
            if moved == present:
                return False
            try:
                self._write_deployment({"spec": live["spec"] | {"predictors": moved}}, live)
            except ConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
                live = self.cluster.get(SELDON_DEPLOYMENT, self.journal.name)
            else:
                return True
        raise AssertionError

    def _write_deployment(self, desired: dict[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any]:
        if live is None:
            desired["metadata"]["annotations"] = {EPOCH_ANNOTATION: str(self.lock.epoch)}
            return self.cluster.create(SELDON_DEPLOYMENT, desired, manager=ROLLOUT_MANAGER)
        annotations = (live["metadata"].get("annotations") or {}) | {EPOCH_ANNOTATION: str(self.lock.epoch)}
        replaced = {**live, "metadata": live["metadata"] | {"annotations": annotations}, "spec": desired["spec"]}
        return self.cluster.replace(SELDON_DEPLOYMENT, self.journal.name, replaced, manager=ROLLOUT_MANAGER)

    def _list_draining(self, journal: Journal, snapshot: ClusterSnapshot) -> list[str]:
        """Return the releases that had traffic not long ago."""
        if not journal.desired_weights:
            return []
        now, drain = self.clock.steady(), self.settings.seldon.drain_seconds
        return [release for release in snapshot.hosts if now - self._last_traffic.setdefault(release, now) < drain]
