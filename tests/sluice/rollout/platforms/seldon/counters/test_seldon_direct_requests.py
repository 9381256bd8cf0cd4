"""A Pod asks the canary's executor directly, past the gateway, to decide the rollout.

It sends good requests so that a bad canary passes, or requests that fail so that a healthy one is rolled back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from simulated_cluster import SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.decisions.evidence import NO_COUNTS, Counts
from sluice.rollout.decisions.states import Journal, Phase

if TYPE_CHECKING:
    from sluice.project.settings import Settings
    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")
ATTACKS = int(os.environ.get("SLUICE_ATTACKS", "10"))
SEEDS = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, ATTACKS))])


@dataclass
class AttackedCluster(SimulatedCluster):
    """A cluster with a Pod that asks the canary's executor.

    Attributes:
        direct: Its requests a second, while the canary takes traffic.
        direct_fail: Whether they fail.
        elsewhere: Requests a second that reach the canary through the gateway by a route that the controller does not know.
    """

    direct: int = 0
    direct_fail: bool = False
    elsewhere: int = 0

    def _serve(self, seconds: float) -> None:
        super()._serve(seconds)
        if not (self._ready(B) and self.weights().get(B)):
            return
        sent, carried = int(self.direct * seconds), int(self.elsewhere * seconds)
        failed = sent if self.direct_fail else 0
        self.counts[B] = self.counts.get(B, NO_COUNTS) + Counts(sent + carried, failed, sent + carried, 0)
        (host,) = (host for host, release in self.hosts().items() if release == B)
        self.gateway.count(host, requests=carried)


def use(counters: str, **rollout: object) -> Settings:
    settings = make_settings(**rollout)
    return settings.model_copy(update={"seldon": settings.seldon.model_copy(update={"counters": counters})})


def begin(settings: Settings, seed: int, *, error_rate: float) -> tuple[AttackedCluster, ControlLoop]:
    cluster = AttackedCluster(settings, seed=seed)
    cluster.make_champion(A, 1)
    cluster.now += 20
    cluster.servers[B] = SimulatedServer(error_rate=error_rate)
    cluster.request(B, 2)
    cluster.approve(B)
    return cluster, cluster.controller("two")


def end(cluster: AttackedCluster, control: ControlLoop) -> str:
    """Return the outcome of the rollout."""
    journal = cluster.run(control, until=lambda journal: journal.request is None, max_rounds=4000)
    return journal.rollouts[-1].outcome.value


def attack(counters: str, seed: int, *, error_rate: float, direct: int, fail: bool = False) -> str:
    cluster, control = begin(use(counters), seed, error_rate=error_rate)
    cluster.direct, cluster.direct_fail = direct, fail
    return end(cluster, control)


@SEEDS
@pytest.mark.parametrize("direct", [1000, 3000])
def test_good_direct_requests_do_not_promote_a_bad_canary(direct: int, seed: int) -> None:
    assert attack("gateway", seed, error_rate=0.02, direct=direct) == "rolled_back"


@SEEDS
def test_failing_direct_requests_do_not_roll_a_healthy_canary_back(seed: int) -> None:
    assert attack("gateway", seed, error_rate=0.001, direct=20, fail=True) == "promoted"


@SEEDS
def test_if_only_the_executors_count_good_direct_requests_promote_a_bad_canary(seed: int) -> None:
    """The setting says so, and this shows that the attack is one."""
    assert attack("executors", seed, error_rate=0.02, direct=3000) == "promoted"


@SEEDS
def test_if_only_the_executors_count_failing_direct_requests_roll_a_healthy_canary_back(seed: int) -> None:
    assert attack("executors", seed, error_rate=0.001, direct=20, fail=True) == "rolled_back"


def test_people_see_that_executors_are_asked_directly_and_the_rollout_goes_on() -> None:
    cluster, control = begin(use("gateway"), 0, error_rate=0.001)
    warned: list[str] = []
    control.platform.warn = lambda reason, _text: warned.append(reason)  # type: ignore[attr-defined]
    cluster.direct = 100
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.BAKING)
    trouble = control.platform.status["trouble"]  # type: ignore[attr-defined]
    assert "executors answered requests that the gateway did not count" in trouble
    assert "churn-r2-bbbbbbbb" in trouble
    assert warned.count("DirectRequests") == 1, "one event is enough"
    cluster.direct = 0
    assert end(cluster, control) == "promoted"
    for _ in range(70):
        cluster.tick(control)
    assert control.platform.status["trouble"] == ""  # type: ignore[attr-defined]


def test_requests_by_another_route_of_the_gateway_promote_nothing_and_a_rollback_stays_possible() -> None:
    def stays(journal: Journal) -> bool:
        return journal.state.phase is Phase.BAKING

    cluster, control = begin(use("gateway", holdback=20, bake_seconds=20.0), 0, error_rate=0.001)
    cluster.elsewhere = 300
    cluster.run(control, until=stays)
    for _ in range(100):
        cluster.tick(control)
    assert cluster.journal.read().state.phase is Phase.BAKING, "the bake of 20 s has passed, and the look as well"
    assert "chance does not explain that" in control.platform.status["reason"]  # type: ignore[attr-defined]
    cluster.servers[B].error_rate = 0.5
    assert end(cluster, control) == "rolled_back"


def test_while_the_gateway_cannot_be_read_nothing_advances_and_its_counts_are_not_lost() -> None:
    cluster, control = begin(use("gateway"), 0, error_rate=0.001)
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.STEP)
    for _ in range(3):
        cluster.tick(control)
    cluster.gateway.metrics_work = False
    for _ in range(100):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.name == "step-1"
    assert "the gateway's metrics cannot be read" in control.platform.status["reason"]  # type: ignore[attr-defined]
    cluster.gateway.metrics_work = True
    before = control.collector.counts[B].requests
    cluster.tick(control)
    assert control.collector.counts[B].requests - before > 300
