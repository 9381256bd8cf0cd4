"""What a controller cannot see: counts that executors do not tell, nodes that do not know a Pod yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from seldon_world import SeldonWorld, Server, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.platforms.seldon.objects.serving_pods import READINESS_DELAY_SECONDS

if TYPE_CHECKING:
    from sluice.rollout.decisions.evidence import Counts
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod
    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")
EXECUTOR_SECONDS = 1.0


class HangingWorld(SeldonWorld):
    """Once `metrics_work` is off, an executor is silent for as long as one waits for it."""

    def read(self, pods: list[ServingPod], now: float) -> dict[str, Counts]:
        if not self.metrics_work:
            self.pass_time(EXECUTOR_SECONDS)
            raise ServiceError("the metrics cannot be read: timed out")
        return super().read(pods, now)


def begin_canary(phase: Phase, bake_seconds: float = 300.0) -> tuple[HangingWorld, ControlLoop]:
    world = HangingWorld(make_settings(margin=0.05, first_look=60, bake_seconds=bake_seconds))
    world.champion(A, 1)
    world.servers[B] = Server()
    world.now += 20
    world.request(B, 2)
    world.approve(B)
    control = world.controller()
    world.run(control, until=lambda journal: journal.state.phase is phase)
    return world, control


def test_a_look_that_passed_does_not_end_the_bake_once_the_metrics_are_away() -> None:
    world, control = begin_canary(Phase.BAKING)
    while not control.collector.judge(world.journal.read()).passed:
        world.tick(control)
    world.metrics_work = False
    for _ in range(200):
        world.tick(control)
    assert world.now - world.journal.read().state.since > 300.0
    assert world.journal.read().target == B
    assert "cannot be read" in control.platform.status["reason"]
    world.metrics_work = True
    world.run(control, until=lambda journal: journal.champion == B)


def test_nothing_is_sent_to_a_canary_that_has_only_just_become_ready() -> None:
    """A node learns of a Service's Pods later than the API server, and refuses what comes before."""
    world, _ = begin_canary(Phase.STEP)
    server = world.servers[B]
    assert world.journal.read().state.since - (server.since + server.ready_after) >= READINESS_DELAY_SECONDS


@pytest.mark.parametrize("kind", [CommandKind.ROLLBACK, CommandKind.ABORT])
@pytest.mark.parametrize("phase", [Phase.STEP, Phase.BAKING])
def test_a_person_s_way_down_does_not_wait_for_an_executor_that_hangs(phase: Phase, kind: CommandKind) -> None:
    world, control = begin_canary(phase)
    world.metrics_work = False
    world.tick(control)
    world.command(kind)
    asked = world.now
    control.run_round()
    assert world.weights() == {A: 100}
    assert world.now - asked < 0.5
