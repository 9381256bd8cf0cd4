"""Seldon Core as a platform: a predictor for each release in one SeldonDeployment, and the routes of its VirtualService."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError, ServiceError
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.evidence import Checkpoint
from sluice.rollout.decisions.health import VERIFIED, Health, Verification
from sluice.rollout.decisions.states import CommandKind, Journal
from sluice.rollout.journals import ConflictError, dump_checkpoint
from sluice.rollout.observations import Confirmation, Observation, ServerRecord
from sluice.rollout.platforms.seldon.cluster_snapshots import read_cluster_snapshot
from sluice.rollout.platforms.seldon.counters.counting import ServedTraffic
from sluice.rollout.platforms.seldon.deployments import DeploymentWriter
from sluice.rollout.platforms.seldon.leases.lease_locks import EVIDENCE_ANNOTATION, STATUS_ANNOTATION
from sluice.rollout.platforms.seldon.objects.pod_watches import PodWatch
from sluice.rollout.platforms.seldon.objects.predictors import HTTP_PORT, list_served_releases, name_role
from sluice.rollout.platforms.seldon.objects.routes import list_routed_hosts
from sluice.rollout.platforms.seldon.objects.serving_pods import ReadinessDelay, judge_health
from sluice.rollout.platforms.seldon.resources.rollout_autoscalers import RolloutAutoscaler
from sluice.rollout.platforms.seldon.resources.rollout_records import RolloutRecords
from sluice.rollout.platforms.seldon.resources.rollout_statuses import Report, read_journal
from sluice.rollout.platforms.seldon.resources.tenures import Tenure
from sluice.rollout.platforms.seldon.routing.gateway_checks import GatewayCheck
from sluice.rollout.platforms.seldon.routing.route_writer import LOST_ROUTES, NO_ROUTES, RouteWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.settings import Settings
    from sluice.rollout.decisions.evidence import Counts
    from sluice.rollout.decisions.states import ChampionTerm, Transition
    from sluice.rollout.observations import RoundReport
    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.cluster_snapshots import ClusterSnapshot
    from sluice.rollout.platforms.seldon.counters.counting import RequestCounters
    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
    from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal


@dataclass(slots=True)
class SeldonPlatform:
    """The platform behind `sluice rollout controller`.

    Attributes:
        settings: The settings of the project.
        cluster: The namespace.
        journal: The journal of the project.
        lock: The lease of this controller.
        notify: Called with each event, one line of text.
        record: Called with each transition that was written, and with each that was confirmed.
        warn: Called with the reason and the text of each event that people should see, for example that a change by others was
            put right.
        tag: Called with the images of champion and N-1 when they change; an image is empty if there is none.
        counters: Counts the requests.
        verify: Says whether the release of the running rollout may take traffic.
        clock: Time.
        status: What the last round saw. The lease carries it.
    """

    settings: Settings
    cluster: Cluster
    journal: SeldonJournal
    lock: LeaseLock
    notify: Callable[[str], object]
    counters: RequestCounters
    record: Callable[[Transition], object] = lambda _transition: None
    tag: Callable[[str, str], object] = lambda _champion, _previous: None
    verify: Callable[[Journal], Verification] = lambda _journal: VERIFIED
    warn: Callable[[str, str], object] = lambda _reason, _text: None
    clock: Clock = REAL_CLOCK
    status: dict[str, Any] = field(default_factory=dict)
    confirm_seconds: float = 2.0
    confirm_poll_seconds: float = 0.05
    _snapshot: ClusterSnapshot | None = None
    _health: dict[str, Health] = field(default_factory=dict)
    _checkpoint: Checkpoint = field(default_factory=Checkpoint)
    _to_resume: Checkpoint | None = None
    _notice: str = ""
    _delay: ReadinessDelay = field(default_factory=ReadinessDelay)
    _watch: PodWatch = field(default_factory=PodWatch)
    _rollouts: RolloutRecords = field(init=False)
    _objects: DeploymentWriter = field(init=False)
    _routes: RouteWriter = field(init=False)
    _gateway: GatewayCheck = field(init=False)
    tenure: Tenure = field(init=False)
    _autoscaler: RolloutAutoscaler = field(init=False)

    def __post_init__(self) -> None:
        self._rollouts = RolloutRecords(self.journal, self.lock, self.notify, self.clock, self._warn)
        self._objects = DeploymentWriter(self.settings, self.cluster, self.journal, self.lock, self.clock, self._correct)
        self._routes = RouteWriter(self.journal, self.lock, self.clock, self._warn)
        self._gateway = GatewayCheck(self.settings.seldon.url)
        self.tenure = Tenure(self.journal, self.lock, self.notify, self._warn)
        self._autoscaler = RolloutAutoscaler(self.cluster, self.settings.seldon.replicas, self.notify, self._correct)

    def observe(self) -> Observation | None:
        """Hold the lease, and read the objects, the Pods and the counters; return None if another controller acts.

        Raises:
            SupersededError: A controller with a later epoch has written.
            DataError: The journal cannot be read.
            ServiceError: The API server does not answer, or refuses.
        """
        if not self._hold_lease():
            return None
        rollout = self._rollouts.read()
        if rollout is None:
            self._health, self._snapshot = {}, None
            checkpoint, self._to_resume = self._to_resume, None
            return Observation(journal=Journal(), health={}, weights={}, counts=None, can_apply=False, checkpoint=checkpoint)
        snapshot = self._snapshot = read_cluster_snapshot(self.cluster, self.journal.name, rollout)
        self.tenure.refuse_superseded(snapshot.deployment, snapshot.service, rollout=rollout)
        if snapshot.service is None and self._restore_routes(snapshot):
            snapshot = self._snapshot = read_cluster_snapshot(self.cluster, self.journal.name, rollout)
        unaccepted, unread = self._read_journal(snapshot)
        journal, rollout = self._rollouts.accept(unaccepted, rollout)
        snapshot = self._snapshot = dataclasses.replace(snapshot, rollout=rollout)
        self._objects.observe_traffic(snapshot)
        # An executor that hangs takes seconds, and a person who orders a rollback must not wait for it.
        rolls_back = _is_new_rollback_command(journal)
        counts, problem = (None, "") if rolls_back else self._read_counts(snapshot, journal)
        self._health = self._judge_health(journal, snapshot)
        asks_canary = not rolls_back and self._health.get(journal.target or "", Health()).verification.holds
        checkpoint, self._to_resume = self._to_resume, None  # only now, because everything before may fail
        return Observation(
            journal=journal,
            health=self._health,
            weights=snapshot.applied_weights,
            counts=counts,
            stable_ready=bool(snapshot.ready_pods(journal.champion)),
            # The shadow asks the servers themselves: an executor counts its requests as requests of users.
            champion_urls=() if rolls_back else [pod.url(HTTP_PORT) for pod in snapshot.ready_pods(journal.champion)],
            canary_urls=[pod.url(HTTP_PORT) for pod in snapshot.ready_pods(journal.target)] if asks_canary else (),
            problem="" if rolls_back else problem or unread,
            checkpoint=checkpoint,
            events=self._watch.observe(self._health, snapshot.pods),
        )

    def store_evidence(self, checkpoint: Checkpoint, *, changed: bool) -> None:
        """Keep the evidence for the lease, which carries it from the next renewal on."""
        del changed
        self._checkpoint = checkpoint

    def write_journal(self, journal: Journal) -> Journal:
        """Write a decision into the status of the ModelRollout, unless another process changed the journal meanwhile."""
        snapshot = self._require_snapshot()
        written, rollout = self._rollouts.write(journal, snapshot.rollout)
        self._snapshot = dataclasses.replace(snapshot, rollout=rollout)
        return written

    def update_journal(self, change: Callable[[Journal], Journal]) -> None:
        """Read, change and write the journal, unless a controller with a later epoch has written."""
        self.journal.update(change, epoch=self.lock.epoch)

    def apply(self, journal: Journal, *, journaled: bool = True) -> bool:
        """Write predictors and routes; return whether anything was changed or still has to change.

        The SeldonDeployment comes first, because the operator undoes weights that only the routes have. The routes are set as
        well, because the operator writes none while any Deployment is not ready; and they are set alone if the SeldonDeployment
        cannot be written.
        """
        snapshot = self._require_snapshot()
        if not journaled:
            return self._move_traffic(journal, snapshot)
        held = self._health.get(journal.target or "", Health()).held_for_approval
        serving = {journal.previous, *journal.desired_weights}
        unverified = {one for one, found in self._health.items() if not found.verification.holds} - serving
        try:
            written = self._objects.move_predictors(journal, snapshot, held_for_approval=held, unverified=unverified)
        except ConflictError:
            return True
        except ServiceError:
            with contextlib.suppress(ConflictError):
                self._routes.move(journal, snapshot)
            raise
        self._snapshot = dataclasses.replace(snapshot, rollout=written or snapshot.rollout)
        try:
            return self._routes.move(journal, snapshot) or written is not None
        except ConflictError:
            return True

    def _move_traffic(self, journal: Journal, snapshot: ClusterSnapshot) -> bool:
        """Move only the traffic, in both objects, because the operator undoes weights that only the routes have."""
        try:
            moved = self._objects.move_traffic(journal, snapshot)
        except ServiceError:
            with contextlib.suppress(ConflictError):
                self._routes.move(journal, snapshot)
            raise
        try:
            return self._routes.move(journal, snapshot) or moved
        except ConflictError:  # the operator has followed already, or somebody else wrote
            again = read_cluster_snapshot(self.cluster, self.journal.name, snapshot.rollout)
            self.tenure.refuse_superseded(again.deployment, again.service, rollout=again.rollout)
            return self._routes.move(journal, again)

    def confirm(self, journal: Journal) -> Confirmation:
        """Read the objects again, and write what could not be written before."""
        snapshot = self._snapshot = read_cluster_snapshot(self.cluster, self.journal.name, self._require_snapshot().rollout)
        desired, applied = journal.desired_weights, snapshot.applied_weights
        where = "the SeldonDeployment still changes" if applied == desired else f"the routes apply {applied}"
        return Confirmation(
            applied=not self.apply(journal), weights=applied, difference=f"{where}; the desired weights are {desired}"
        )

    def read_server_record(self, release: str) -> ServerRecord:
        """Return the log that the Pods' status contained. The status has it only if the server's process failed."""
        return ServerRecord(log=self._watch.last_logs.get(release, "").splitlines())

    def record_transition(self, transition: Transition) -> None:
        """Publish a transition as a Kubernetes event and as metrics."""
        self.record(transition)

    def tag_champion(self, champion: ChampionTerm | None, previous: ChampionTerm | None) -> None:
        """Let the registry's tags name the images of champion and N-1."""
        self.tag(champion.image if champion else "", previous.image if previous else "")

    def report(self, report: RoundReport) -> None:
        """Keep the status for the lease, which carries it, and write what people read into the ModelRollout."""
        snapshot = self._snapshot
        if snapshot is None:
            self.status = {
                "reason": "no release was ever rolled out",
                "trouble": "",
                "account": self.journal.account,
            }
            return
        # While several releases have traffic, each has less load than a release that has all of it.
        scaling = self._autoscaler.follow(snapshot.rollout, is_split=len(report.journal.desired_weights) > 1)
        problem = report.problem or scaling
        servers = [
            {
                "release": digest,
                "role": name_role(report.journal, digest),
                "ready": found.ready,
                "failure": found.failure,
                "waiting": found.verification.waiting or found.waiting,
                "pods": len(snapshot.ready_pods(digest)),
            }
            for digest, found in self._health.items()
        ]
        self.status = {
            "state": report.journal.state.name,
            "account": self.journal.account,
            "url": self.settings.seldon.url,
            "seen_weights": dict(snapshot.applied_weights or {}),
            "reason": report.plan.reason,
            "trouble": problem or self._notice,
            "evidence": dict(report.evidence) or None,
            "servers": servers,
        }
        seen = Report(
            message=report.plan.reason,
            problem=problem,
            applied_weights=dict(snapshot.applied_weights or {}),
            evidence=dict(report.evidence),
            servers=tuple(servers),
        )
        rollout = self._routes.record(report.journal, snapshot)
        rollout = self._rollouts.publish(report.journal, rollout, seen)
        self._rollouts.remember(report.journal, rollout)
        self._snapshot = dataclasses.replace(snapshot, rollout=rollout)

    def _correct(self, text: str) -> None:
        self._warn("PutRight", text)

    def _warn(self, reason: str, text: str) -> None:
        self.notify(text)
        self.warn(reason, text)

    def _require_snapshot(self) -> ClusterSnapshot:
        if self._snapshot is None:
            raise ServiceError(f"there is no ModelRollout {self.journal.name}", hint="The next round reads it again.")
        return self._snapshot

    def _hold_lease(self) -> bool:
        """Return whether this controller acts. If it has just begun to act, continue with the stored evidence."""
        self._snapshot = self._snapshot if self.tenure.acts else None
        checkpoint = self.tenure.begin(self.build_annotations())
        if checkpoint is not None:
            self._checkpoint = self._to_resume = checkpoint
            self._routes.forget()
        return self.tenure.acts

    def build_annotations(self) -> dict[str, str]:
        """Return what a renewal of the lease writes: nothing before this controller has read what the one before has stored."""
        if not self.tenure.acts:
            return {}
        return {
            STATUS_ANNOTATION: json.dumps(self.status, allow_nan=False),
            EVIDENCE_ANNOTATION: dump_checkpoint(self._checkpoint).decode(),
            **self._rollouts.describe_champions(),
        }

    def _read_journal(self, snapshot: ClusterSnapshot) -> tuple[Journal, str]:
        """Return the journal, and why its approvals cannot be read. Without them no canary advances, but rollbacks still work."""
        try:
            return self.journal.parse(snapshot.rollout), ""
        except DataError:
            raise
        except ServiceError as error:
            journal = self.journal.parse_document(snapshot.rollout)
            # A promotion needs an approval. The command stays in its annotation, because carrying it out now would refuse it for
            # good.
            promotes = journal.command is not None and journal.command.kind is CommandKind.PROMOTE
            return dataclasses.replace(journal, command=None) if promotes else journal, str(error)

    def restore_deleted_routes(self) -> None:
        """Restore routes that somebody has just deleted. The thread that watches them calls this beside a round."""
        if self.tenure.acts and (snapshot := self._snapshot):
            self._routes.restore_deleted(snapshot)

    def _restore_routes(self, snapshot: ClusterSnapshot) -> bool:
        """Restore routes that are gone before anything else is read, because until then no request is answered.

        They get the weights that the journal has, so nothing is decided. Return whether they may be there now.
        """
        journal = read_journal(snapshot.rollout)
        if journal is None or not journal.desired_weights:
            return False
        try:
            return self._routes.move(journal, snapshot)
        except ConflictError:  # the operator was faster
            return True
        except ServiceError:
            return False

    def _read_counts(self, snapshot: ClusterSnapshot, journal: Journal) -> tuple[Mapping[str, Counts] | None, str]:
        """Return what was counted, and what keeps a release from advancing by it."""
        problem = ""
        if snapshot.applied_weights is None:
            problem = "the routes of the VirtualService have different weights"
        elif snapshot.service is None and any(pod.ready for pod in snapshot.pods):
            problem = LOST_ROUTES if journal.desired_weights else NO_ROUTES
        pods = [pod for pod in snapshot.pods if pod.ip and (pod.ready or not pod.terminating)]
        traffic = ServedTraffic(pods=pods, hosts=snapshot.hosts, weights=snapshot.applied_weights)
        try:
            found = self.counters.read(traffic, self.clock.now())
        except ServiceError as error:
            return None, problem or str(error)
        if found.notice and not self._notice:
            self._warn("DirectRequests", found.notice)
        self._notice = found.notice
        return (None, problem) if problem else (found.counts, found.problem)

    def _judge_health(self, journal: Journal, snapshot: ClusterSnapshot) -> dict[str, Health]:
        """Return the health of each release. It is ready if its Pods answer and every route knows it."""
        now, health = self.clock.now(), {}
        routed = list_routed_hosts(snapshot.service or {})
        for digest, release in list_served_releases(journal).items():
            exposed = digest == journal.target and journal.state.phase.exposed
            found = judge_health(
                snapshot.pods,
                release,
                exposed=exposed,
                routed=snapshot.hosts.get(digest) in routed,
                now=now,
                start_timeout_seconds=self.settings.serving.start_timeout_seconds,
            )
            if self._is_held_for_approval(journal) and digest == journal.target:
                found = Health(held_for_approval=True)
            ready = found.ready
            if digest == journal.target and not exposed:
                ready = self._delay.observe(digest, ready=ready, now=self.clock.steady())
                if ready and journal.champion is None:
                    problem = self._gateway.find_problem(digest, self.clock.steady())
                    found, ready = dataclasses.replace(found, waiting=problem), not problem
            silent = self._watch.measure_silence(digest, ready=bool(snapshot.ready_pods(digest)), now=self.clock.steady())
            health[digest] = dataclasses.replace(found, ready=ready, silent_seconds=silent)
        if (canary := journal.target) is not None:
            health[canary] = dataclasses.replace(health[canary], verification=self.verify(journal))
        return health

    def _is_held_for_approval(self, journal: Journal) -> bool:
        """Whether the first release still waits for its approval."""
        request = journal.request
        if request is None or journal.champion is not None:
            return False
        return journal.find_approval(request.release, request.steps, self.clock.now(), image=request.image) is None


def _is_new_rollback_command(journal: Journal) -> bool:
    """Whether a person ordered an abort or a rollback, which needs no evidence. While it waits for Pods, evidence counts."""
    command, last = journal.command, journal.transitions[-1] if journal.transitions else None
    if command is None or command.kind is CommandKind.PROMOTE:
        return False
    return last is None or not command.id or last.command_id != command.id
