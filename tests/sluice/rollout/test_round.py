"""One control round: the order of its steps, and what happens when one of them fails."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from memory_platform import MemoryPlatform, SimulatedServer

from sluice.errors import ServiceError
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.states import CommandKind, Journal, Phase
from sluice.rollout.journals import ConflictError

if TYPE_CHECKING:
    from sluice.rollout.round import ControlLoop

A, B = "release-a", "release-b"
QUICK: dict[str, Any] = {"margin": 0.05, "first_look": 60, "bake_seconds": 5.0, "deadline_seconds": 900.0}


def start_canary(**rollout: Any) -> tuple[MemoryPlatform, ControlLoop]:
    """A is champion, and B was requested and approved."""
    platform = MemoryPlatform(RolloutTable(**(QUICK | rollout)))
    platform.make_champion(A)
    platform.request(B)
    platform.approve(B)
    return platform, platform.control()


def reach(platform: MemoryPlatform, loop: ControlLoop, state: str) -> None:
    platform.run(loop, until=lambda journal: journal.state.name == state)


def roll_back_without_journal() -> tuple[MemoryPlatform, ControlLoop]:
    """Let the evidence roll B back while the journal cannot be written."""
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    platform.failing.add("write_journal")
    platform.servers[B].error_rate = 1.0
    while platform.weights != {A: 100}:
        platform.tick(loop)
    return platform, loop


def run_rounds(platform: MemoryPlatform, loop: ControlLoop, number: int) -> None:
    """Run rounds whose errors the test wants to see."""
    for _ in range(number):
        loop.run_round()
        platform.pass_time(1.0)


def ended(journal: Journal) -> bool:
    return journal.request is None


def test_a_good_canary_is_promoted_and_no_request_is_lost() -> None:
    platform, loop = start_canary()
    assert platform.run(loop, until=ended).champion == B
    names = [transition.to_state for transition in platform.stored.transitions if transition.release == B]
    assert names == ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]
    assert (platform.weights, platform.lost) == ({B: 100}, 0)
    platform.tick(loop)
    assert platform.tags == (B, A)


def test_a_canary_that_fails_is_rolled_back() -> None:
    platform, loop = start_canary()
    platform.servers[B] = SimulatedServer(error_rate=0.2)
    assert platform.run(loop, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    assert (platform.weights, platform.stored.champion) == ({A: 100}, A)


def test_a_decision_is_journaled_before_it_is_applied_and_confirmed_after() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "awaiting_approval")
    platform.calls.clear()
    while platform.stored.state.name == "awaiting_approval":
        platform.calls.clear()
        platform.tick(loop)
    assert platform.calls == ["observe", "write_journal", "apply", "confirm", "update_journal"]
    assert platform.stored.transitions[-1].applied_at is not None
    assert [transition.applied_at is None for transition in platform.recorded[-2:]] == [True, False]


def test_a_round_without_a_decision_writes_nothing() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    platform.calls.clear()
    loop.run_round()
    assert platform.calls == ["observe", "apply"]


def test_a_rollback_moves_the_traffic_even_if_it_cannot_be_journaled() -> None:
    platform, loop = roll_back_without_journal()
    assert platform.calls[-2:] == ["write_journal", "apply without journal"]
    for _ in range(5):
        platform.tick(loop)
    assert platform.weights == {A: 100}, "the next rounds leave the traffic on stable"
    assert platform.stored.state.name == "step-1", "the journal could not be written"
    platform.failing.clear()
    assert platform.run(loop, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK


def test_an_alarm_in_the_bake_gives_stable_the_traffic_even_if_it_cannot_be_journaled() -> None:
    platform, loop = start_canary(bake_seconds=600.0)
    reach(platform, loop, "baking")
    platform.failing.add("write_journal")
    platform.servers[B].error_rate = 1.0
    for _ in range(10):
        platform.tick(loop)
    assert (platform.weights, platform.stored.state.name) == ({A: 100}, "baking")
    platform.failing.clear()
    platform.tick(loop)
    assert (platform.weights, platform.stored.state.name) == ({A: 75, B: 25}, "step-2")
    assert platform.run(loop, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK


def test_a_process_that_is_killed_before_the_rollback_is_journaled_rolls_back_again_at_once() -> None:
    platform, _ = roll_back_without_journal()
    restarted = platform.restart()
    platform.tick(restarted)
    assert restarted.collector.evidence is not None
    assert restarted.collector.evidence.e_value >= 100
    assert platform.weights == {A: 100}, "the canary gets no traffic again"


def test_the_evidence_is_stored_although_every_round_fails() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    platform.failing.add("apply")
    for _ in range(5):
        platform.tick(loop)
    assert platform.stored_evidence is not None
    assert platform.stored_evidence == loop.collector.checkpoint()


@pytest.mark.parametrize("kind", [CommandKind.ABORT, CommandKind.ROLLBACK])
def test_a_command_to_roll_back_moves_the_traffic_even_if_it_cannot_be_journaled(kind: CommandKind) -> None:
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    platform.failing.add("write_journal")
    platform.command(kind)
    platform.tick(loop)
    assert platform.weights == {A: 100}


def test_an_advance_that_cannot_be_journaled_moves_no_traffic() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    platform.failing.add("write_journal")
    for _ in range(200):
        platform.tick(loop)
    assert platform.weights == {A: 95, B: 5}
    assert "apply without journal" not in platform.calls


def test_a_round_that_meets_another_writer_decides_nothing_and_the_next_one_decides_anew() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "awaiting_approval")
    observe = platform.observe

    def observe_before_another_write() -> Any:
        observation = observe()
        platform.change(lambda journal: dataclasses.replace(journal, approvals=journal.approvals))
        return observation

    platform.observe = observe_before_another_write  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        run_rounds(platform, loop, 100)
    assert platform.stored.state.name == "awaiting_approval"
    platform.observe = observe  # type: ignore[method-assign]
    assert platform.run(loop, until=ended).champion == B


def test_weights_that_were_not_applied_are_applied_by_the_next_process() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "awaiting_approval")
    platform.failing.add("apply")
    while platform.stored.state.name == "awaiting_approval":
        platform.tick(loop)
    assert (platform.weights, platform.stored.transitions[-1].applied_at) == ({A: 100}, None)
    platform.failing.clear()
    platform.tick(platform.restart())
    assert platform.weights == {A: 95, B: 5}
    assert platform.stored.transitions[-1].applied_at is not None


def test_a_proxy_that_does_not_follow_is_an_error_and_the_decision_stays_unapplied() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "awaiting_approval")
    platform.apply = lambda _journal, **_options: True  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match=r"the proxy applies \{'release-a': 100\}, not"):
        run_rounds(platform, loop, 100)
    assert platform.stored.transitions[-1].applied_at is None


def test_a_restarted_process_continues_with_the_evidence() -> None:
    platform, loop = start_canary()
    reach(platform, loop, "step-1")
    for _ in range(10):
        platform.tick(loop)
    before = loop.collector.evidence
    assert before is not None
    assert before.canary.requests > 0
    restarted = platform.restart()
    platform.tick(restarted)
    assert restarted.collector.evidence == before, "the window across the restart is not evidence"
    platform.tick(restarted)
    after = restarted.collector.evidence
    assert after is not None
    assert after.canary.requests > before.canary.requests


def test_a_champion_is_rolled_back_to_n_minus_1_by_command() -> None:
    platform, loop = start_canary()
    platform.run(loop, until=ended)
    platform.command(CommandKind.ROLLBACK)
    platform.tick(loop)
    assert (platform.stored.champion, platform.weights) == (A, {A: 100})
    assert platform.stored.transitions[-1].commanded_by == "kim"


def test_the_shadow_comes_before_the_first_step() -> None:
    platform, loop = start_canary(shadow_requests=100)
    assert platform.run(loop, until=ended).champion == B
    states = [transition.to_state for transition in platform.stored.transitions]
    assert states.index("shadow") < states.index("step-1")


def test_a_canary_with_other_answers_is_rejected_in_the_shadow() -> None:
    platform, loop = start_canary(shadow_requests=100)
    platform.servers[B] = SimulatedServer(difference=0.6)
    assert platform.run(loop, until=ended).rollouts[-1].outcome is Phase.REJECTED
    assert B not in platform.counts, "no user's request reached it"
