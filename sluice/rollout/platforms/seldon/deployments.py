"""What the controller writes to move traffic: the predictors of the SeldonDeployment and the routes of its VirtualService."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.cluster_snapshots import EPOCH_ANNOTATION
from sluice.rollout.platforms.seldon.objects.predictors import build_deployment, build_spec
from sluice.rollout.platforms.seldon.objects.renderings import plan_deployment, read_renderings, record_renderings
from sluice.rollout.platforms.seldon.objects.routes import build_routes
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sluice.project.settings import Settings
    from sluice.rollout.clocks import Clock
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.cluster_snapshots import ClusterSnapshot
    from sluice.rollout.platforms.seldon.leases import LeaseLock
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal

ROLLOUT_MANAGER = "sluice-rollout"
"""Field manager of the predictors and the routes, which only the controller writes."""


@dataclass(slots=True)
class DeploymentWriter:
    """Writes the SeldonDeployment and the routes of one project.

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

    def move_routes(self, journal: Journal, snapshot: ClusterSnapshot) -> bool:
        """Set the VirtualService's weights; return whether they had, or still have, to change.

        Raises:
            ConflictError: The VirtualService has changed since it was read.
            ServiceError: The API server does not answer, or refuses.
        """
        desired = journal.desired_weights
        if snapshot.service is None or not desired or snapshot.applied_weights == desired:
            return False
        if not desired.keys() <= snapshot.hosts.keys():
            return True  # a predictor is missing: half of the weights would give the other one all of the traffic
        weights = {snapshot.hosts[release]: share for release, share in desired.items()}
        try:
            routes = build_routes(snapshot.service, weights)
        except ValueError:
            return True  # the operator adds the route as soon as all Deployments are ready
        patch = {"metadata": build_metadata(snapshot.service, self.lock.epoch), "spec": {"http": routes}}
        self.cluster.merge(VIRTUAL_SERVICE, self.journal.name, patch, manager=ROLLOUT_MANAGER)
        return True

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


def build_metadata(found: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """Return what every change carries: the version that was read, and the epoch of the controller."""
    return {
        "resourceVersion": found["metadata"]["resourceVersion"],
        "annotations": {EPOCH_ANNOTATION: str(epoch)},
    }
