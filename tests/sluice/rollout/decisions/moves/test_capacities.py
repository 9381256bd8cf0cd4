"""Traffic moves only as fast as the Pods of the release that gets it can take it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_journals import FAILED, NOTHING, PASSED, SETTINGS, approval, command, decide, request, running, term

from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.moves.capacities import describe_shortage, limit_share
from sluice.rollout.decisions.states import Command, CommandKind, Journal, Phase, State
from sluice.rollout.decisions.transitions import advance, begin

if TYPE_CHECKING:
    from sluice.rollout.decisions.interim_looks import Judgement

PODS = st.integers(0, 12)


def health(**pods: int) -> dict[str, Health]:
    """Return the health of releases with so many ready Pods: a is N-1, b is the champion, and c is the canary."""
    return {release: Health(ready=count > 0, pods=count) for release, count in pods.items()}


def champion(kind: CommandKind | None = CommandKind.ROLLBACK, **changes: object) -> Journal:
    """Return the journal of a champion b, which a person rolls back to a."""
    journal = Journal(
        history=term("a", "b"),
        weights={"b": 100},
        state=State(phase=Phase.PROMOTED),
        command=command(kind) if kind else None,
    )
    return dataclasses.replace(journal, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "pods", "others", "expected"),
    [(100, 1, 4, 25), (100, 1, 3, 33), (100, 4, 4, 100), (100, 5, 4, 100), (5, 1, 4, 5), (100, 0, 4, 0), (100, 1, 0, 100)],
)
def test_a_release_takes_at_most_what_its_ready_pods_can_take(share: int, pods: int, others: int, expected: int) -> None:
    assert limit_share(share, pods, others) == expected
    assert bool(describe_shortage(share, pods, others, "N-1's")) == (expected < share)


@pytest.mark.parametrize("counts", [(None, None), (None, 4), (1, None)])
def test_nothing_is_limited_where_pods_are_not_counted(counts: tuple[int | None, int | None]) -> None:
    """On a laptop each release has its fixed processes."""
    assert limit_share(100, *counts) == 100


@given(st.integers(1, 100), PODS, st.integers(1, 12))
def test_no_pod_gets_more_than_a_pod_of_the_other_release_carried(share: int, pods: int, others: int) -> None:
    given_share = limit_share(share, pods, others)
    assert 0 <= given_share <= share
    assert given_share * others <= 100 * pods or pods >= others
    assert (given_share == share) == (not describe_shortage(share, pods, others, "N-1's"))


def test_a_rollback_of_the_champion_moves_as_pods_of_n_minus_1_become_ready() -> None:
    journal = champion()
    seen = []
    for pods in (1, 1, 2, 3, 4):
        plan, journal = decide(journal, health=health(a=pods, b=4))
        seen.append((dict(journal.desired_weights), plan.changes, journal.champion))
    assert seen == [
        ({"a": 25, "b": 75}, True, "b"),
        ({"a": 25, "b": 75}, False, "b"),
        ({"a": 50, "b": 50}, True, "b"),
        ({"a": 75, "b": 25}, True, "b"),
        ({"a": 100}, True, "a"),
    ]
    reasons = [one.reason for one in journal.transitions]
    assert reasons[0] == "rollback to N-1 by kim: 25 % moved; waits for N-1's Pods (1 of 4 ready)"
    assert reasons[-1] == "rolled back to N-1 by kim"
    assert (journal.command, journal.state.phase, journal.rollouts[-1].outcome) == (None, Phase.ROLLED_BACK, Phase.ROLLED_BACK)


def test_a_rollback_moves_at_once_from_a_champion_that_answers_nobody_and_to_enough_pods() -> None:
    for pods in (health(a=1, b=0), health(a=2, b=2), health(a=3, b=2), {"a": Health(ready=True), "b": Health(ready=True)}):
        assert decide(champion(), health=pods)[0].weights == {"a": 100, "b": 0}


def test_a_rollback_is_completed_when_pods_do_not_become_ready_in_time() -> None:
    """In a full cluster, the Pods of N-1 may have room only after those of the champion have ended."""
    journal = decide(champion(), health=health(a=1, b=4))[1]
    late = 9.5 + SETTINGS.pods_wait_seconds
    assert not decide(journal, now=late - 0.1, health=health(a=1, b=4))[0].changes
    plan, ended = decide(journal, now=late, health=health(a=1, b=4))
    assert (plan.weights, ended.champion) == ({"a": 100, "b": 0}, "a")
    assert plan.reason == "rolled back to N-1 by kim; N-1's Pods (1 of 4 ready) did not become ready within 120 s"


@pytest.mark.parametrize(
    ("pods", "now", "done"),
    [
        (health(a=0, b=4), 20.0, False),
        ({"a": Health(failure="crash loop", pods=0), **health(b=4)}, 20.0, True),
        (health(a=0, b=4), 9.5 + SETTINGS.deadline_seconds, True),
    ],
)
def test_what_n_minus_1_cannot_take_any_more_returns_to_the_champion(pods: dict[str, Health], now: float, *, done: bool) -> None:
    journal = decide(champion(), health=health(a=2, b=4))[1]
    assert journal.desired_weights == {"a": 50, "b": 50}
    plan, journal = decide(journal, now=now, health=pods)
    assert (journal.desired_weights, journal.champion) == ({"b": 100}, "b")
    assert (journal.command is None) is done, plan.reason


def test_a_request_during_a_rollback_takes_nothing_back_from_n_minus_1() -> None:
    journal = decide(champion(), health=health(a=1, b=4))[1]
    journal = begin(journal, request())
    plan, journal = decide(journal, health=health(a=1, b=4, c=0))
    assert (plan.state.phase, journal.desired_weights, journal.champion) == (Phase.ABORTED, {"a": 25, "b": 75}, "b")
    assert decide(journal, health=health(a=4, b=4))[1].champion == "a"


def test_a_rollback_that_is_refused_during_a_request_returns_everything_to_the_champion() -> None:
    journal = begin(decide(champion(), health=health(a=1, b=4))[1], request())
    plan, journal = decide(journal, health=health(a=0, b=4, c=0))
    assert "refused: N-1's server is not ready" in plan.reason
    assert (journal.desired_weights, journal.command) == ({"b": 100}, None)


def baking(share: int = 100, **changes: object) -> Journal:
    return running(Phase.BAKING, 2, weights={"b": 100 - share, "c": share}, **changes)


@pytest.mark.parametrize("kind", [CommandKind.ABORT, CommandKind.ROLLBACK])
def test_an_abort_waits_for_the_pods_of_stable(kind: CommandKind) -> None:
    journal, seen = baking(command=command(kind)), []
    for pods in (1, 1, 3, 4):
        plan, journal = decide(journal, health=health(b=pods, c=4))
        seen.append((journal.desired_weights, plan.changes))
    assert seen == [({"b": 25, "c": 75}, True), ({"b": 25, "c": 75}, False), ({"b": 75, "c": 25}, True), ({"b": 100}, True)]
    assert "25 % on stable; waits for stable's Pods (1 of 4 ready)" in journal.transitions[0].reason
    assert journal.request is None


def test_an_abort_gives_the_canary_nothing_more() -> None:
    journal = running(Phase.STEP, 0, command=command(CommandKind.ABORT))
    plan, _ = decide(journal, health=health(b=1, c=4))
    assert not plan.changes
    assert decide(journal, health=health(b=4, c=4))[0].weights == {"b": 100, "c": 0}


@pytest.mark.parametrize(
    ("judgement", "canary", "now"),
    [
        (FAILED, Health(ready=True, pods=4), 10.0),
        (NOTHING, Health(failure="crash loop", pods=2), 10.0),
        (NOTHING, Health(pods=0), 10.0),
        (NOTHING, Health(ready=True, pods=4), 9.5 + SETTINGS.pods_wait_seconds),
    ],
)
def test_an_abort_waits_for_no_pods_of_stable_if_the_canary_fails_or_the_time_is_over(
    judgement: Judgement, canary: Health, now: float
) -> None:
    plan, _ = decide(baking(command=command(CommandKind.ABORT)), judgement, now, {**health(b=1), "c": canary})
    assert plan.weights == {"b": 100, "c": 0}


def test_a_rollback_by_the_evidence_is_never_limited() -> None:
    plan, _ = decide(baking(), FAILED, health=health(b=1, c=4))
    assert (plan.state.phase, plan.weights) == (Phase.ROLLED_BACK, {"b": 100, "c": 0})


@pytest.mark.parametrize(
    ("phase", "step", "pods", "advances"),
    [
        (Phase.AWAITING_APPROVAL, None, 1, True),  # to 5 %
        (Phase.STEP, 0, 1, True),  # to 25 %
        (Phase.STEP, 1, 1, False),  # to 95 %
        (Phase.STEP, 1, 3, False),
        (Phase.STEP, 1, 4, True),
        (Phase.BAKING, 2, 3, False),
    ],
)
def test_a_canary_takes_no_more_than_its_pods_can(phase: Phase, step: int | None, pods: int, *, advances: bool) -> None:
    plan, _ = decide(running(phase, step), PASSED, now=400.0, health=health(b=4, c=pods))
    assert plan.changes is advances, plan.reason
    if not advances:
        share = 100 if phase is Phase.BAKING else 95
        assert plan.reason == f"waits for the canary's Pods ({pods} of 4 ready) before it takes {share} %"


def test_a_canary_that_waits_for_pods_ends_at_the_deadline_with_that_reason() -> None:
    journal = running(Phase.STEP, 1, approvals=(approval(until=5000.0),))
    plan, _ = decide(journal, PASSED, now=SETTINGS.deadline_seconds, health=health(b=4, c=1))
    assert plan.weights == {"b": 100, "c": 0}
    assert "last: waits for the canary's Pods (1 of 4 ready)" in plan.reason


def test_a_promotion_by_a_person_waits_for_the_canary_s_pods_but_not_if_it_fails() -> None:
    journal = running(Phase.STEP, 0, command=command(CommandKind.PROMOTE))
    plan, _ = decide(journal, health=health(b=4, c=1))
    assert (plan.changes, plan.reason) == (False, "promote by kim waits for the canary's Pods (1 of 4 ready) before 95 %")
    failed = {**health(b=4), "c": Health(failure="crash loop", pods=0)}
    assert decide(journal, health=failed)[0].state.phase is Phase.ROLLED_BACK
    assert decide(journal, health=health(b=4, c=4))[0].weights == {"b": 5, "c": 95}


def test_traffic_returns_to_stable_after_a_diversion_when_enough_of_its_pods_answer() -> None:
    silent = {"b": Health(silent_seconds=12.0, pods=0), **health(c=1)}
    journal = decide(running(Phase.STEP, 0), health=silent)[1]
    assert journal.desired_weights == {"c": 100}, "a diversion is not limited"
    plan, _ = decide(journal, health=health(b=1, c=4))
    assert (plan.changes, plan.weights["c"]) == (False, 100)
    assert "waits for stable's Pods (1 of 4 ready)" in plan.reason
    assert decide(journal, health=health(b=4, c=4))[0].weights == {"b": 95, "c": 5}


@given(
    st.lists(st.tuples(PODS, PODS, PODS), min_size=1, max_size=20),
    st.sampled_from([CommandKind.ABORT, CommandKind.ROLLBACK]),
    st.sampled_from([None, 5, 25, 95, 100]),
)
def test_a_command_never_overloads_a_pod_and_ends_when_the_pods_are_ready(
    rounds: list[tuple[int, int, int]], kind: CommandKind, share: int | None
) -> None:
    """A release never gains more than its ready Pods can take, weights sum to 100, and the command ends with enough Pods."""
    if share is None:
        journal = champion(command=Command(kind=CommandKind.ROLLBACK, by="kim", at=9.5))
    else:
        phase = Phase.BAKING if share >= 95 else Phase.STEP
        step = {5: 0, 25: 1}.get(share, 2)
        journal = running(phase, step, weights={"b": 100 - share, "c": share}, command=command(kind))
    gains, loses = ("a", "b") if share is None else ("b", "c")
    for counts in [*rounds, (12, 12, 12)]:
        if journal.command is None:
            return
        pods = dict(zip("abc", counts, strict=True))
        before = journal.weights.get(gains, 0)
        _, journal = decide(journal, health=health(**pods))
        after = journal.weights.get(gains, 0)
        assert sum(journal.weights.values()) == 100
        if after > before and pods[loses]:
            assert after * pods[loses] <= 100 * pods[gains] or pods[gains] >= pods[loses]
    assert journal.command is None
    assert journal.desired_weights == {gains: 100}


def test_what_a_person_ordered_is_journaled_as_an_answer_to_the_command() -> None:
    plan, journal = decide(champion(), health=health(a=1, b=4))
    assert advance(champion(), plan, evidence={}, now=10.0) == journal
    last = journal.transitions[-1]
    assert (last.commanded_by, last.is_event, last.from_state, last.to_state) == ("kim", False, "promoted", "promoted")
