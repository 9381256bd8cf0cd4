"""A simulated cluster: an API server in memory, Seldon's operator, servers, traffic and a clock.

Tests use it to cause a fault at every single call of the controller. ``tests/cluster`` tests the controller with the real parts.
The simulated operator acts as Seldon Core 1.17.1 does: it writes the VirtualService only while all Deployments are ready, and
then it overwrites what others wrote there.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from memory_api import NAMESPACE, MemoryApi, copy_object
from simulated_gateway import SimulatedGateway
from simulated_routes import plan_operator_routes

from sluice.errors import ServiceError
from sluice.kubernetes_calls import POD
from sluice.project.settings import Settings
from sluice.project.tables.data import DataTable
from sluice.project.tables.model import ModelTable
from sluice.project.tables.project import ProjectTable
from sluice.project.tables.rollout import RolloutTable
from sluice.project.tables.seldon import SeldonTable
from sluice.project.tables.serving import ServingTable
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.blame import NO_REJECTIONS, Rejections
from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.decisions.states import Approval, Command, CommandKind, Journal, Request
from sluice.rollout.decisions.transitions import begin
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.counters.counting import ExecutorCounters, GatewayCounters
from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest
from sluice.rollout.platforms.seldon.objects.routes import build_service_host, read_weights
from sluice.rollout.platforms.seldon.platform import SeldonPlatform
from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal
from sluice.rollout.round import ControlLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.failures import ErrorKind
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod

NAME = "churn"
WRITES = {"create", "patch", "update"}
REQUESTER, APPROVER = "bob@example.com", "ann@example.com"
START = 1_800_000_000.0


def make_settings(**rollout: Any) -> Settings:
    return Settings(
        project=ProjectTable(name=NAME),
        data=DataTable(snapshot="s", holdout="h", load="m:f", label="l", id="i"),
        model=ModelTable(build="m:f"),
        serving=ServingTable(start_timeout_seconds=120.0),
        seldon=SeldonTable(drain_seconds=30.0),
        rollout=RolloutTable(splitter="seldon", **rollout),
    )


class Killed(BaseException):
    """The controller's process is killed at this point."""


@dataclass
class SimulatedServer:
    """The behaviour of one release.

    Attributes:
        error_rate: Share of its requests that fail.
        slow_rate: Share of its requests that are slow.
        broken: Why its container does not run, for example ``CrashLoopBackOff``; empty while it runs.
        log: The end of the log of its last run, if that run failed.
        unready_since: When it stopped being ready; None while it is ready.
        difference: Mean difference of its answers in the shadow from those of stable.
        ready_after: Seconds from its start until it is ready.
        replicas: Replicas of its predictor.
        most_pods: How many of its Pods become ready at most; None for all.
        since: When it was started.
    """

    error_rate: float = 0.001
    slow_rate: float = 0.002
    broken: str = ""
    log: str = ""
    unready_since: float | None = None
    difference: float = 0.02
    ready_after: float = 25.0
    replicas: int = 0
    most_pods: int | None = None
    since: float = 0.0


@dataclass
class SimulatedCluster:
    """The simulated cluster.

    Attributes:
        settings: The settings of the project.
        rate: Requests a second.
        seed: Of the random draws.
        api: The API server.
        servers: The releases' servers.
        operator_works: Whether the operator reconciles.
        operator_writes: How often it wrote the VirtualService.
        operator_gateway: The gateway in the operator's settings.
        metrics_work: Whether the executors' metrics can be read.
        shared_error_rate: If set, every release fails at this rate.
        now: Seconds since the epoch.
        clock_offset: How far the controller's clock differs from `now`, in seconds.
        counts: Cumulative counts of the executors by release.
        gateway: The counters of the gateway.
        lost: Requests that a release got although it was not ready.
        lines: What the controllers reported.
    """

    settings: Settings = field(default_factory=make_settings)
    rate: float = 100.0
    seed: int = 0
    api: MemoryApi = field(default_factory=MemoryApi)
    servers: dict[str, SimulatedServer] = field(default_factory=dict)
    operator_works: bool = True
    operator_writes: int = 0
    operator_gateway: str = "seldon-gateway"
    metrics_work: bool = True
    shared_error_rate: float | None = None
    now: float = START
    clock_offset: float = 0.0
    counts: dict[str, Counts] = field(default_factory=dict)
    gateway: SimulatedGateway = field(default_factory=SimulatedGateway)
    lost: int = 0
    _carried: float = 0.0
    _names: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.clock = Clock(now=lambda: self.now + self.clock_offset, steady=lambda: self.now, sleep=self.pass_time)
        self.lines: list[str] = []
        self.api.now, self.api.mutate = lambda: self.now, _add_defaults

    # What people do

    @property
    def journal(self) -> SeldonJournal:
        return SeldonJournal(self.api, self.settings, self.clock)  # type: ignore[arg-type]

    def request(self, release: str, number: int) -> None:
        steps = tuple(self.settings.rollout.steps)
        request = Request(
            id=f"{release}-{self.now}",
            release=release,
            by=REQUESTER,
            at=self.now,
            steps=steps,
            number=number,
            image=f"churn@{release}",
        )
        self.api.user = REQUESTER
        self.journal.update(lambda journal: begin(journal, request))

    def approve(self, release: str, seconds: float = 86400.0) -> None:
        steps = tuple(self.settings.rollout.steps)
        image = f"churn@{release}"
        name = f"{next(self._names):08}"
        approval = Approval(
            release=release, steps=steps, by=APPROVER, at=self.now, until=self.now + seconds, image=image, id=name
        )
        self.api.user = APPROVER
        self.journal.update(lambda journal: _replace(journal, approvals=(*journal.approvals, approval)))

    def command(self, kind: CommandKind) -> None:
        self.api.user = APPROVER
        command = Command(kind=kind, by=APPROVER, at=self.now, id=f"{next(self._names):08}", reason="a reason")
        self.journal.update(lambda journal: _replace(journal, command=command))

    def make_champion(self, release: str, number: int) -> None:
        """Let a release become champion as the first release does: after its approval, without canary traffic."""
        control = self.controller()
        self.servers.setdefault(release, SimulatedServer())
        self.request(release, number)
        self.approve(release)
        self.run(control, until=lambda journal: journal.champion == release)

    # The controller

    def controller(self, holder: str = "one") -> ControlLoop:
        lock = LeaseLock(self.api, "churn-rollout", f"{holder}-{self.now}", 15.0, clock=self.clock)  # type: ignore[arg-type]
        counters = GatewayCounters(self.gateway, self, self.clock)
        platform = SeldonPlatform(
            self.settings,
            self.api,  # type: ignore[arg-type]
            self.journal,
            lock,
            self.lines.append,
            ExecutorCounters(self) if self.settings.seldon.counters == "executors" else counters,
            clock=self.clock,
        )
        control = ControlLoop(platform, self.settings.rollout, self.lines.append, clock=self.clock)
        control.shadow = self
        control.faults = self
        return control

    def tick(self, control: ControlLoop) -> bool:
        """Run one round and let one second pass. An error of the round becomes a line, as in the controller."""
        try:
            acted = control.run_round()
        except ServiceError as error:
            self.lines.append(f"problem: {error}")
            acted = False
        self.pass_time(self.settings.seldon.look_seconds)
        return acted

    def run(self, control: ControlLoop, until: Callable[[Journal], bool], max_rounds: int = 2000) -> Journal:
        for _ in range(max_rounds):
            self.tick(control)
            before, self.api.before = self.api.before, lambda *_: None
            journal = self.journal.read()
            self.api.before = before
            if until(journal):
                return journal
        raise AssertionError(f"not within {max_rounds} rounds: {journal.state}; {self.lines[-5:]}")

    # What the controller observes

    def read(self, pods: list[ServingPod], now: float) -> dict[str, Counts]:
        """Answer as the executors do."""
        if not self.metrics_work:
            raise ServiceError("the metrics cannot be read")
        return dict(self.counts)

    def poll(self, rollout: str, champions: list[str], canary: str) -> Comparison:
        """Answer as the shadow does: 50 requests since the last round."""
        server = self.servers[self.journal.read().target or ""]
        return Comparison(requests=50, difference=50 * server.difference)

    def find_rejections(self, rollout: str, champions: object, canaries: object) -> Rejections:
        """Answer as the fault finder does: the canary rejects nothing."""
        del rollout, champions, canaries
        return NO_REJECTIONS

    def refresh(self, rollout: str, canaries: object) -> None:
        pass

    def is_refreshed(self) -> bool:
        return True

    def list_errors(self, rollout: str) -> tuple[ErrorKind, ...]:
        del rollout
        return ()

    def close(self) -> None:
        pass

    def weights(self) -> dict[str, int]:
        service = self.api.objects.get((VIRTUAL_SERVICE.plural, NAME))
        return (read_weights(service, self.hosts()) or {}) if service else {}

    def hosts(self) -> dict[str, str]:
        """Return the release of each host."""
        return {build_service_host(NAME, one["name"], NAMESPACE): read_predictor_digest(one) for one in self.predictors()}

    def predictors(self) -> list[dict[str, Any]]:
        return self.api.objects.get((SELDON_DEPLOYMENT.plural, NAME), {}).get("spec", {}).get("predictors", [])

    # Time, traffic, Pods and the operator

    def pass_time(self, seconds: float) -> None:
        """Let requests come, and be answered by the weights that apply; then let the kubelet and the operator act."""
        self.now += seconds
        self._serve(seconds)
        self._run_pods()
        if self.operator_works:
            self._reconcile()

    def _serve(self, seconds: float) -> None:
        self._carried += self.rate * seconds
        requests = int(self._carried)
        self._carried -= requests
        weights = self.weights()
        if not requests or not weights:
            return
        split = self.random.multinomial(requests, [share / sum(weights.values()) for share in weights.values()])
        hosts = {release: host for host, release in self.hosts().items()}
        for release, sent in zip(weights, split.tolist(), strict=True):
            server = self.servers.get(release, SimulatedServer())
            if not self._ready(release):
                self.lost += sent  # no executor counts a request that no server answers
                self.gateway.count_unreached(hosts[release], sent)
                continue
            rate = server.error_rate if self.shared_error_rate is None else self.shared_error_rate
            errors = int(self.random.binomial(sent, rate))
            slow = int(self.random.binomial(sent, server.slow_rate))
            self.counts[release] = self.counts.get(release, NO_COUNTS) + Counts(sent, errors, sent, slow)
            self.gateway.count(hosts[release], requests=sent, errors=errors, slow=slow)

    def _ready(self, release: str) -> bool:
        server = self.servers.get(release)
        if server is None or server.broken or server.unready_since is not None:
            return False
        return server.replicas > 0 and self.now - server.since >= server.ready_after

    def _run_pods(self) -> None:
        desired = {read_predictor_digest(one): one for one in self.predictors() if read_predictor_digest(one)}
        for release, server in self.servers.items():
            replicas = int(desired.get(release, {}).get("replicas") or 0)
            if replicas and not server.replicas:
                server.since = self.now
            server.replicas = replicas
        for key in [key for key in self.api.objects if key[0] == POD.plural]:
            del self.api.objects[key]
        for release, predictor in desired.items():
            for number in range(self.servers.setdefault(release, SimulatedServer()).replicas):
                pod = self._pod(release, predictor, number)
                self.api.objects[POD.plural, pod["metadata"]["name"]] = pod

    def count_ready(self, release: str) -> int:
        """Return how many Pods of a release are ready."""
        server = self.servers.get(release)
        if server is None or not self._ready(release):
            return 0
        return server.replicas if server.most_pods is None else min(server.replicas, server.most_pods)

    def _pod(self, release: str, predictor: Mapping[str, Any], number: int) -> dict[str, Any]:
        server = self.servers[release]
        ready = number < self.count_ready(release)
        changed = server.since if server.unready_since is None else server.unready_since
        state = {"waiting": {"reason": server.broken}} if server.broken else {"running": {}}
        last = {"lastState": {"terminated": {"exitCode": 3, "message": server.log}}} if server.log else {}
        return {
            "metadata": {
                "uid": f"{release}-{server.since}-{number}",
                "name": predictor["name"] + (f"-{number}" if number else ""),
                "creationTimestamp": _format_time(server.since),
                "labels": {"seldon-deployment-id": NAME},
            },
            "spec": predictor["componentSpecs"][0]["spec"],
            "status": {
                "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": _format_time(changed)}
                ],
                "containerStatuses": [{"name": "model", "restartCount": 3 if server.broken else 0, "state": state, **last}],
            },
        }

    def _reconcile(self) -> None:
        predictors = self.predictors()
        served = [read_predictor_digest(one) for one in predictors]
        if not served or not all(self._ready(one) and self.count_ready(one) == self.servers[one].replicas for one in served):
            return
        spec = plan_operator_routes(NAME, NAMESPACE, predictors, self.operator_gateway)
        found = self.api.objects.get((VIRTUAL_SERVICE.plural, NAME)) or {"metadata": {"name": NAME}}
        if found.get("spec") != spec:
            self.operator_writes += 1
            self.api.put(VIRTUAL_SERVICE, NAME, copy_object(found) | {"spec": spec})


def _add_defaults(plural: str, found: dict[str, Any]) -> None:
    """Change a SeldonDeployment as the operator's webhook does: it names the service of each model."""
    if plural != SELDON_DEPLOYMENT.plural:
        return
    for predictor in found["spec"]["predictors"]:
        predictor["graph"]["endpoint"] |= {"service_host": "localhost", "service_port": 9000}


def _format_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _replace(journal: Journal, **changes: Any) -> Journal:
    return dataclasses.replace(journal, **changes)


__all__ = ["Killed", "MemoryApi", "SimulatedCluster", "SimulatedServer", "make_settings"]
