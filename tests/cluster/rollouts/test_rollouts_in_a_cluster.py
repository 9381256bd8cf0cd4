"""Rollouts as they should go, and as people end them: real Pods, a real Envoy, traffic all the time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lanes import wait_for
from load import Load

from sluice.errors import StateError
from sluice.rollout.requests import approvals, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from lanes import Lane

RATE = 100.0


def test_first_release_waits_for_its_approval_without_a_pod_and_a_canary_climbs_to_all_traffic(
    make_lane: Callable[..., Lane],
) -> None:
    lane = make_lane("climb", steps=(5, 25, 100))
    lane.ensure()
    first = lane.begin(approved=False)
    lane.wait_state("awaiting_approval")
    assert not lane.pods(first), "what stands alone would take all the traffic"
    approvals.approve(lane.project, first, by="ann")
    lane.serve(first)
    with Load(lane.url, RATE) as load:
        second = lane.begin()
        assert lane.wait_end(second) == "promoted"
        lane.check_converged()
        wait_for(lambda: load.of(second, since=time.time() - 0.5) > 20, what="traffic at the champion")
        states = [one.to_state for one in lane.transitions(second)]
        assert states == ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]
        lane.check_evidence(second)
        journal = lane.read()
        assert (journal.champion, journal.previous) == (second, first)
        assert all(pod.ready for pod in lane.pods(first)), "N-1 stays warm"
        assert lane.pods(first)

        third = lane.begin()
        assert lane.wait_end(third) == "promoted"
        lane.check_converged()
        wait_for(lambda: not lane.pods(first), what="the end of the release before N-1")
        names = [one["annotations"]["sluice.dev/release"] for one in lane.deployment()["spec"]["predictors"]]
        assert names == [second, third]
        assert [pod.crashes for pod in (*lane.pods(second), *lane.pods(third))] == [0, 0]
    assert not load.failed(), [one for one in load.answers if one.failed][:5]


def test_the_shadow_refuses_what_answers_otherwise_and_a_holdback_bakes_the_rest(make_lane: Callable[..., Lane]) -> None:
    lane = make_lane("shadow", arms="shadow_requests = 60\nshadow_difference = 0.05\nholdback = 10")
    champion = lane.first()
    with Load(lane.url, RATE) as load:
        other = lane.begin(approved=False)
        lane.wait_state("awaiting_approval")
        lane.fault(other, probability=0.9)
        approvals.approve(lane.project, other, by="ann")
        assert lane.wait_end(other) == "rejected", [one.reason for one in lane.transitions(other)]
        lane.check_converged()
        assert not load.of(other), "no user met it"
        assert "shadow: the canary's answers differ from stable's by" in lane.transitions(other)[-1].reason

        same = lane.begin()
        lane.wait_state("baking")
        wait_for(lambda: lane.seen() == {champion: 10, same: 90}, what="the holdback")
        assert lane.wait_end(same) == "promoted"
        lane.check_converged()
        states = [one.to_state for one in lane.transitions(same)]
        assert states == ["awaiting_ready", "awaiting_approval", "shadow", "step-1", "step-2", "baking", "promoted"]
        assert lane.transitions(same)[3].evidence["shadow_failed"] == 0
        assert all(pod.crashes == 0 for pod in lane.pods(same))
    assert not load.failed(), [one for one in load.answers if one.failed][:5]


def test_without_an_approval_nothing_moves_and_the_deadline_rejects(make_lane: Callable[..., Lane]) -> None:
    lane = make_lane("late", deadline=20.0)
    champion = lane.first()
    with Load(lane.url, 20.0) as load:
        canary = lane.begin(approved=False)
        lane.wait_state("awaiting_approval")
        with pytest.raises(StateError, match="takes no canary traffic"):
            commands.promote(lane.project, canary, by="bob")
        assert lane.wait_end(canary) == "rejected"
        lane.check_converged()
        wait_for(lambda: not lane.pods(canary), what="the end of the refused release")
    assert lane.read().champion == champion
    assert not load.of(canary)
    assert not load.failed()


def test_people_end_rollouts_and_roll_champions_back(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    def roll_canary_back(lane: Lane) -> None:
        champion = lane.read().champion
        canary = lane.begin()
        lane.wait_state("step-1")
        done = commands.rollback(lane.project, by="kim")
        assert done["to"] == champion
        assert lane.wait_end(canary) == "rolled_back"

    def abort(lane: Lane) -> None:
        canary = lane.begin()
        lane.wait_state("step-1")
        commands.abort(lane.project, by="kim")
        assert lane.wait_end(canary) == "aborted"

    def roll_champion_back(lane: Lane) -> None:
        before = lane.read().champion
        canary = lane.begin()
        lane.wait_state("step-1")
        commands.promote(lane.project, canary, by="eve")
        assert lane.wait_end(canary) == "promoted"
        done = commands.rollback(lane.project, by="kim")
        assert (done["to"], done["left"]) == (before, canary)
        assert lane.read().champion == before

    def act(lane: Lane, end: Callable[[Lane], None]) -> None:
        with Load(lane.url, 60.0) as load:
            end(lane)
            lane.check_converged()
            champion = lane.read().champion or ""
            wait_for(lambda: load.of(champion, since=time.time() - 0.5) > 10, what="traffic at stable")
        assert not load.failed()

    together(act, lanes, [roll_canary_back, abort, roll_champion_back])
