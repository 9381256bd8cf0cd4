"""What the controller writes into the VirtualService: the weights, and the routes if somebody deleted or changed them.

Seldon's operator writes no routes while a Deployment is not ready. If the VirtualService is deleted while a canary crash-loops,
no request would be answered until the canary is gone. Therefore the controller remembers the operator's routes and restores
them. While all Deployments are ready, the operator decides about the form of the routes, so that the two never write in turns.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.objects.epochs import EPOCH_ANNOTATION, ROLLOUT_MANAGER, build_metadata
from sluice.rollout.platforms.seldon.objects.renderings import read_renderings
from sluice.rollout.platforms.seldon.objects.route_forms import (
    RouteForm,
    build_form,
    build_owner,
    build_route_spec,
    has_lost,
    is_plausible,
    read_form,
)
from sluice.rollout.platforms.seldon.objects.routes import build_routes
from sluice.rollout.platforms.seldon.resources.rollout_statuses import read_journal
from sluice.rollout.platforms.seldon.routing.destination_rules import DestinationRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.clocks import Clock
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.platforms.seldon.cluster_snapshots import ClusterSnapshot
    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal

LOST_ROUTES = "its Pods are ready, but its VirtualService is gone. The controller restores it in this round"

NO_ROUTES = (
    "its Pods are ready, but there is no VirtualService: Seldon's operator writes one only with ISTIO_ENABLED=true. "
    "Ambassador is not supported, because it serves a split of 100:0 as 50:50"
)

OPERATOR_SECONDS = 1.0
"""An operator that may write puts its routes right within this time."""

LEARNING_SECONDS = 3.0
"""Other routes count as the operator's after they have stayed for this time while it may write."""

SETTLED_SECONDS = 5.0
"""After this time with the desired weights, other weights are somebody's change and not a late write of the operator."""


@dataclass(slots=True)
class RouteWriter:
    """Keeps the routes of one SeldonDeployment.

    Attributes:
        journal: The journal of the project.
        lock: The lease of this controller.
        clock: Time.
        warn: Called with the reason and the text of each event that people should see.
    """

    journal: SeldonJournal
    lock: LeaseLock
    clock: Clock
    warn: Callable[[str, str], object]
    _form: RouteForm | None = None
    _other: tuple[RouteForm | None, float] | None = None
    _settled: tuple[Mapping[str, int], float] = field(default_factory=lambda: ({}, 0.0))
    _problem: str = ""

    def move(self, journal: Journal, snapshot: ClusterSnapshot) -> bool:
        """Set the weights, and restore the routes if they are lost; return whether anything had, or still has, to change.

        Raises:
            ConflictError: The VirtualService has changed since it was read.
            ServiceError: The API server does not answer, or refuses.
        """
        try:
            changed = self._move(journal, snapshot)
        except ConflictError:
            raise
        except ServiceError as error:
            if self._problem != str(error):
                self.warn("RoutesNotApplied", f"the VirtualService {self.journal.name} cannot be written: {error}")
            self._problem = str(error)
            raise
        self._problem = ""
        return changed

    def restore_deleted(self, snapshot: ClusterSnapshot) -> None:
        """Write deleted routes again at once, with the weights that the journal has, so nothing is decided.

        The thread that watches the routes calls this beside a control round, which asks servers and the gateway first. A round
        that runs meanwhile finds the routes at another version than it read, and reads again. If this fails, the round does it.

        Args:
            snapshot: What the last round read and wrote, because no request is answered while it is read again. If the
                SeldonDeployment is another one since, Kubernetes deletes the routes again, as they have no owner.
        """
        journal, deployment = read_journal(snapshot.rollout), snapshot.deployment
        if journal is None or deployment is None or "deletionTimestamp" in deployment["metadata"]:
            return
        desired, known = journal.desired_weights, self._remembered(snapshot) is not None
        if known and desired and desired.keys() <= snapshot.hosts.keys():
            lost = dataclasses.replace(snapshot, service=None)
            with contextlib.suppress(ServiceError):  # a conflict is one too: somebody else was faster
                self._restore(lost, {snapshot.hosts[release]: share for release, share in desired.items()})

    def forget(self) -> None:
        """Forget the routes, because another controller has acted meanwhile. The status has what it saw last."""
        self._form, self._other, self._settled = None, None, ({}, 0.0)

    def record(self, journal: Journal, snapshot: ClusterSnapshot) -> Mapping[str, Any]:
        """Remember the routes that are there now, and return the ModelRollout, whose status then has them.

        An error does not matter, because the next round writes them again.
        """
        form = self._learn(snapshot)
        renderings = read_renderings(snapshot.rollout)
        if form is None or not journal.desired_weights or renderings.routes == form:
            return snapshot.rollout
        renderings = dataclasses.replace(renderings, routes=form)
        with contextlib.suppress(ServiceError):
            return self.journal.write_status(journal, snapshot.rollout, epoch=self.lock.epoch, renderings=renderings)
        return snapshot.rollout

    def _move(self, journal: Journal, snapshot: ClusterSnapshot) -> bool:
        desired, now = journal.desired_weights, self.clock.steady()
        if not desired:
            return False
        if not desired.keys() <= snapshot.hosts.keys():
            return True  # a predictor is missing: half of the weights would give the other one all of the traffic
        weights = {snapshot.hosts[release]: share for release, share in desired.items()}
        if self._must_restore(snapshot, now):
            self._restore(snapshot, weights)
            return True
        if snapshot.applied_weights == desired:
            settled, since = self._settled
            self._settled = (desired, since if settled == desired else now)
            return False
        return self._set_weights(snapshot, weights, desired, now)

    def _set_weights(self, snapshot: ClusterSnapshot, weights: Mapping[str, int], desired: Mapping[str, int], now: float) -> bool:
        service = snapshot.service or {}
        try:
            routes = build_routes(service, weights)
        except ValueError:
            return True  # the operator adds the route as soon as all Deployments are ready
        patch = {"metadata": build_metadata(service, self.lock.epoch), "spec": {"http": routes}}
        self.journal.cluster.merge(VIRTUAL_SERVICE, self.journal.name, patch, manager=ROLLOUT_MANAGER)
        settled, since = self._settled
        if settled == desired and now - since >= SETTLED_SECONDS:
            applied = "weights that differ from each other" if snapshot.applied_weights is None else snapshot.applied_weights
            self.warn("PutRight", f"others gave the routes {applied}; the controller set {dict(desired)} again")
        self._settled = ({}, now)
        return True

    def _must_restore(self, snapshot: ClusterSnapshot, now: float) -> bool:
        """Return whether the routes are lost and nobody else restores them."""
        if snapshot.service is None:
            return True
        form, live = self._remembered(snapshot), read_form(snapshot.service)
        if form is None or not has_lost(live, form, list(_list_predictors(snapshot))):
            self._other = None
            return False
        if self._other is None or self._other[0] != live:
            self._other = live, now
        if not may_operator_write(snapshot):
            return True
        # An operator that may write gives every predictor a destination. So routes without one are not its own.
        whole = live is not None and set(_list_predictors(snapshot)) <= set(live.hosts)
        return not (whole and self._is_plausible(live, form, snapshot)) and now - self._other[1] >= OPERATOR_SECONDS

    def _restore(self, snapshot: ClusterSnapshot, weights: Mapping[str, int]) -> None:
        predictors, service = _list_predictors(snapshot), snapshot.service
        spec = build_route_spec(self._remembered(snapshot) or self._build_form(snapshot), predictors, weights)
        cluster, name = self.journal.cluster, self.journal.name
        if service is None:
            annotations = {EPOCH_ANNOTATION: str(self.lock.epoch)}
            metadata = {"name": name, "annotations": annotations, "ownerReferences": [build_owner(snapshot.deployment or {})]}
            cluster.create(VIRTUAL_SERVICE, {"metadata": metadata, "spec": spec}, manager=ROLLOUT_MANAGER)
        else:
            added = dict.fromkeys(set(service.get("spec") or {}) - set(spec))
            patch = {"metadata": build_metadata(service, self.lock.epoch), "spec": spec | added}
            cluster.merge(VIRTUAL_SERVICE, name, patch, manager=ROLLOUT_MANAGER)
        lost = "deleted" if service is None else "changed by others"
        self.warn("RoutesRestored", f"the VirtualService {name} was {lost}; the controller restored it")

    def _learn(self, snapshot: ClusterSnapshot) -> RouteForm | None:
        """Return the routes to remember: those that are there, if they can be the operator's."""
        form, live = self._remembered(snapshot), read_form(snapshot.service)
        if live is None or not self._is_plausible(live, form, snapshot):
            return form
        if form is not None and not self._may_replace(live, form, snapshot):
            return form
        self._form = dataclasses.replace(live, rules=self._keep_rules(live, form, snapshot))
        return self._form

    def _may_replace(self, live: RouteForm, form: RouteForm, snapshot: ClusterSnapshot) -> bool:
        """Return whether the routes that are there replace the remembered ones."""
        if not has_lost(live, form, list(_list_predictors(snapshot))):
            return True
        if self._other is None or self._other[0] != live or not may_operator_write(snapshot):
            return False
        if not set(_list_predictors(snapshot)) <= set(live.hosts):
            return False
        return self.clock.steady() - self._other[1] >= LEARNING_SECONDS

    def _keep_rules(self, live: RouteForm, form: RouteForm | None, snapshot: ClusterSnapshot) -> Mapping[str, Any]:
        if not live.subsets:
            return {}
        needed = [host.partition(".")[0] for host in _list_predictors(snapshot) if host in live.hosts]
        rules = DestinationRules(self.journal.cluster, self.warn)
        return rules.keep(form.rules if form else {}, needed, build_owner(snapshot.deployment or {}))

    def _remembered(self, snapshot: ClusterSnapshot) -> RouteForm | None:
        if self._form is None:
            self._form = read_renderings(snapshot.rollout).routes
        return self._form

    def _build_form(self, snapshot: ClusterSnapshot) -> RouteForm:
        ready = [host for release, host in snapshot.hosts.items() if snapshot.ready_pods(release)]
        spec = (snapshot.deployment or {}).get("spec") or {}
        return build_form(self.journal.name, self.journal.cluster.namespace, spec.get("annotations") or {}, ready)

    def _is_plausible(self, live: RouteForm | None, form: RouteForm | None, snapshot: ClusterSnapshot) -> bool:
        known = [*(form.hosts if form else ()), *_list_predictors(snapshot)]
        return is_plausible(live, self.journal.name, self.journal.cluster.namespace, known)


def may_operator_write(snapshot: ClusterSnapshot) -> bool:
    """Return whether Seldon's operator writes routes now: it does so only while every Deployment is ready."""
    releases = {release: predictor for predictor, release in zip(snapshot.predictors, snapshot.releases, strict=True)}
    for release, predictor in releases.items():
        own = [pod for pod in snapshot.pods if pod.release == release and not pod.terminating]
        replicas = int(predictor.get("replicas") or 0)
        if not replicas or len(own) < replicas or not all(pod.ready for pod in own):
            return False
    return bool(releases)


def _list_predictors(snapshot: ClusterSnapshot) -> dict[str, str]:
    """Return the names of all predictors by host, in their order."""
    named = zip(snapshot.predictors, snapshot.releases, strict=True)
    return {snapshot.hosts[release]: one["name"] for one, release in named if release in snapshot.hosts}
