"""The controller while it cannot observe everything: executors that do not answer, nodes that do not know a Pod yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulated_cluster import SimulatedCluster, SimulatedServer, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.platforms.seldon.objects.serving_pods import READINESS_DELAY_SECONDS

if TYPE_CHECKING:
    from sluice.rollout.decisions.evidence import Counts
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod
    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")
EXECUTOR_SECONDS = 1.0


class HangingCluster(SimulatedCluster):
    """A cluster in which an executor does not answer within its time limit while `metrics_work` is off."""

    def read(self, pods: list[ServingPod], now: float) -> dict[str, Counts]:
        if not self.metrics_work:
            self.pass_time(EXECUTOR_SECONDS)
            raise ServiceError("the metrics cannot be read: timed out")
        return super().read(pods, now)


def begin_canary(phase: Phase, bake_seconds: float = 300.0) -> tuple[HangingCluster, ControlLoop]:
    cluster = HangingCluster(make_settings(margin=0.05, first_look=60, bake_seconds=bake_seconds))
    cluster.make_champion(A, 1)
    cluster.servers[B] = SimulatedServer()
    cluster.now += 20
    cluster.request(B, 2)
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.phase is phase)
    return cluster, control


def test_a_look_that_passed_does_not_end_the_bake_while_the_metrics_cannot_be_read() -> None:
    cluster, control = begin_canary(Phase.BAKING)
    while not control.collector.judge(cluster.journal.read()).passed:
        cluster.tick(control)
    cluster.metrics_work = False
    for _ in range(200):
        cluster.tick(control)
    assert cluster.now - cluster.journal.read().state.since > 300.0
    assert cluster.journal.read().target == B
    assert "cannot be read" in control.platform.status["reason"]
    cluster.metrics_work = True
    cluster.run(control, until=lambda journal: journal.champion == B)


def test_a_canary_gets_no_traffic_right_after_it_became_ready() -> None:
    """A node learns of a Service's Pods later than the API server does, and refuses connections until then."""
    cluster, _ = begin_canary(Phase.STEP)
    server = cluster.servers[B]
    assert cluster.journal.read().state.since - (server.since + server.ready_after) >= READINESS_DELAY_SECONDS


@pytest.mark.parametrize("kind", [CommandKind.ROLLBACK, CommandKind.ABORT])
@pytest.mark.parametrize("phase", [Phase.STEP, Phase.BAKING])
def test_a_command_to_roll_back_does_not_wait_for_an_executor_that_hangs(phase: Phase, kind: CommandKind) -> None:
    cluster, control = begin_canary(phase)
    cluster.metrics_work = False
    cluster.tick(control)
    cluster.command(kind)
    ordered = cluster.now
    control.run_round()
    assert cluster.weights() == {A: 100}
    assert cluster.now - ordered < 0.5
