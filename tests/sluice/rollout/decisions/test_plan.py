"""The plan, by examples."""

from __future__ import annotations

import dataclasses

import pytest
from plan_journals import FAILED, NOTHING, PASSED, READY, SETTINGS, approval, command, decide, request, running, term
from pydantic import ValidationError

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.interim_looks import Judgement
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.states import Approval, CommandKind, Journal, Phase, State
from sluice.rollout.decisions.transitions import Plan, advance, begin


def test_a_good_canary_takes_5_25_100_per_cent_and_becomes_champion() -> None:
    journal = running()
    journal = dataclasses.replace(journal, request=dataclasses.replace(journal.request, ledger_head="sha256:question"))
    seen = []
    for now in range(1, 200):
        plan, journal = decide(journal, PASSED, float(now))
        if plan.changes:
            seen.append((plan.state.name, dict(plan.weights)))
        if journal.request is None:
            break
    assert seen == [
        ("awaiting_approval", {"b": 100, "c": 0}),
        ("step-1", {"b": 95, "c": 5}),
        ("step-2", {"b": 75, "c": 25}),
        ("baking", {"b": 5, "c": 95}),
        ("promoted", {"b": 0, "c": 100}),
    ]
    assert (journal.champion, journal.previous) == ("c", "b")
    assert journal.history[-1].ledger_head == "sha256:question"
    assert journal.approvals == ()
    assert journal.rollouts[-1].outcome is Phase.PROMOTED
    assert journal.rollouts[-1].stable == "b"


def test_a_shadow_comes_between_the_approval_and_the_first_step() -> None:
    table = SETTINGS.model_copy(update={"shadow_requests": 100})

    def decide_with_shadow(journal: Journal, judgement: Judgement) -> tuple[Plan, Journal]:
        plan = plan_next(journal, judgement, READY, now=10.0, settings=table)
        return plan, advance(journal, plan, evidence={}, now=10.0) if plan.changes else journal

    plan, journal = decide_with_shadow(running(Phase.AWAITING_APPROVAL), NOTHING)
    assert (plan.state.name, plan.weights) == ("shadow", {"b": 100, "c": 0})
    assert not decide_with_shadow(journal, NOTHING)[0].changes
    assert decide_with_shadow(journal, PASSED)[0].weights == {"b": 95, "c": 5}
    plan, ended = decide_with_shadow(journal, FAILED)
    assert plan.state.phase is Phase.REJECTED, "no user's request reached it"
    assert ended.weights == {"b": 100, "c": 0}
    late = dataclasses.replace(journal, approvals=(approval(until=5.0),))
    assert not decide_with_shadow(late, PASSED)[0].changes, "no canary advances without an approval"
    plan, _ = decide_with_shadow(dataclasses.replace(journal, command=command(CommandKind.PROMOTE)), PASSED)
    assert "refused" in plan.reason


def test_stable_keeps_the_holdback_until_the_canary_is_champion() -> None:
    table = SETTINGS.model_copy(update={"holdback": 10})
    journal = running(Phase.STEP, 1)
    plan = plan_next(journal, PASSED, READY, now=10.0, settings=table)
    assert (plan.state.phase, plan.weights) == (Phase.BAKING, {"b": 10, "c": 90})
    journal = advance(journal, plan, evidence={}, now=10.0)
    plan = plan_next(journal, PASSED, READY, now=70.0, settings=table)
    assert (plan.state.phase, plan.weights) == (Phase.PROMOTED, {"b": 0, "c": 100})
    promoted = dataclasses.replace(running(Phase.STEP, 0), command=command(CommandKind.PROMOTE))
    plan = plan_next(promoted, NOTHING, READY, now=10.0, settings=table)
    assert plan.weights == {"b": 10, "c": 90}
    assert plan.reason == "moved to 90 % without waiting for the evidence, by the command of kim"
    first = Journal(request=request(), state=State(phase=Phase.AWAITING_APPROVAL), approvals=(approval(),))
    assert plan_next(first, NOTHING, READY, now=10.0, settings=table).weights == {"c": 100}
    steep = dataclasses.replace(
        running(Phase.STEP, 1), request=request(steps=(5, 95, 100)), approvals=(approval(steps=(5, 95, 100)),)
    )
    assert plan_next(steep, PASSED, READY, now=10.0, settings=table).weights == {"b": 5, "c": 95}, (
        "the steps come from the request"
    )


def test_a_holdback_that_would_take_traffic_back_from_the_canary_is_refused() -> None:
    with pytest.raises(ValidationError, match="more traffic than the step of 60 %"):
        RolloutTable(steps=[5, 60, 100], holdback=40)
    assert RolloutTable(steps=[100], holdback=50).holdback == 50
    assert RolloutTable(steps=[5, 99, 100]).holdback == 5, "the default gives way to the steps"


ALARM = Judgement(alarm="9 of 90 requests failed", reason="fine")


def test_an_alarm_in_the_bake_moves_the_canary_back_one_step_and_not_to_stable() -> None:
    plan, journal = decide(running(Phase.BAKING, 2), ALARM, now=20.0)
    assert (plan.state.name, plan.weights) == ("step-2", {"b": 75, "c": 25})
    assert plan.reason == "9 of 90 requests failed; moved back to 25 % to see whether the canary fails or the platform"
    assert not decide(journal, NOTHING, now=30.0)[0].changes, "it advances only by new evidence"
    plan, journal = decide(journal, PASSED, now=40.0)
    assert (plan.state.name, plan.weights, plan.state.since) == ("baking", {"b": 5, "c": 95}, 40.0)


def test_a_second_alarm_in_the_bake_rolls_the_canary_back() -> None:
    """A canary that fails only under the full load must not take it again and again."""
    _, journal = decide(running(Phase.BAKING, 2), ALARM, now=20.0)
    _, journal = decide(journal, PASSED, now=30.0)
    plan, journal = decide(journal, ALARM, now=40.0)
    assert plan.state.phase is Phase.ROLLED_BACK
    assert plan.reason == "9 of 90 requests failed, as in the bake before"
    assert journal.weights == {"b": 100, "c": 0}


@pytest.mark.parametrize(("steps", "share", "next_state"), [((100,), 25, "baking"), ((5, 90, 100), 25, "baking")])
def test_an_alarm_leaves_stable_most_of_the_traffic(steps: tuple[int, ...], share: int, next_state: str) -> None:
    journal = running(Phase.BAKING, None)
    journal = dataclasses.replace(journal, request=request(steps=steps), approvals=(approval(steps=steps),))
    _, journal = decide(journal, ALARM)
    assert journal.weights == {"b": 100 - share, "c": share}
    assert journal.state.phase is Phase.STEP
    plan, _ = decide(journal, PASSED)
    assert plan.state.name == next_state


def test_an_alarm_outranks_a_promotion_by_command_and_the_end_of_the_bake() -> None:
    _, journal = decide(running(Phase.STEP, 0, command=command(CommandKind.PROMOTE)))
    plan, _ = decide(journal, ALARM, now=100.0)
    assert plan.state.name == "step-2"


def test_the_first_release_becomes_champion_when_it_is_ready_and_approved() -> None:
    journal = Journal(request=request(), state=State(phase=Phase.AWAITING_READY))
    plan, journal = decide(journal, health={})
    assert not plan.changes
    _, journal = decide(journal)
    plan, journal = decide(journal)
    assert not plan.changes
    assert journal.weights == {}
    plan, journal = decide(dataclasses.replace(journal, approvals=(approval(),)))
    assert plan.state.phase is Phase.PROMOTED
    assert journal.weights == {"c": 100}
    assert (journal.champion, journal.previous) == ("c", None)


@pytest.mark.parametrize(
    "wrong", [approval("b"), approval(until=9.0), approval(steps=(50, 100))], ids=["release", "expired", "steps"]
)
def test_an_approval_is_valid_for_one_release_its_steps_and_a_limited_time(wrong: Approval) -> None:
    plan, _ = decide(running(Phase.AWAITING_APPROVAL, approvals=(wrong,)), PASSED)
    assert not plan.changes
    assert "approval" in plan.reason


def test_an_expired_approval_stops_advances_and_not_rollbacks() -> None:
    late = running(Phase.STEP, 0, approvals=(approval(until=9.0),))
    plan, _ = decide(late, PASSED)
    assert not plan.changes
    assert "expired" in plan.reason
    assert decide(late, FAILED)[0].state.phase is Phase.ROLLED_BACK
    assert not decide(running(Phase.BAKING, 2, approvals=()), PASSED, now=100.0)[0].changes


def test_an_inconclusive_judgement_changes_nothing() -> None:
    for phase, step in ((Phase.STEP, 0), (Phase.STEP, 1), (Phase.BAKING, 2)):
        assert not decide(running(phase, step), NOTHING, now=900.0)[0].changes


@pytest.mark.parametrize(("phase", "step"), [(Phase.STEP, 0), (Phase.STEP, 1), (Phase.BAKING, 2)])
def test_a_failed_canary_loses_all_traffic_at_once(phase: Phase, step: int) -> None:
    plan, journal = decide(running(phase, step), FAILED)
    assert plan.state.phase is Phase.ROLLED_BACK
    assert plan.weights == {"b": 100, "c": 0}
    assert (journal.champion, journal.previous) == ("b", "a")
    assert journal.request is None


def test_the_bake_lasts_bake_seconds() -> None:
    journal = running(Phase.BAKING, 2)
    assert not decide(journal, PASSED, now=59.0)[0].changes
    assert decide(journal, PASSED, now=60.0)[0].state.phase is Phase.PROMOTED


def test_the_deadline_rolls_a_canary_back_or_rejects_it_if_it_never_took_traffic() -> None:
    assert decide(running(Phase.STEP, 1), PASSED, now=1000.0)[0].state.phase is Phase.ROLLED_BACK
    plan, journal = decide(running(Phase.AWAITING_APPROVAL, approvals=()), now=1000.0)
    assert plan.state.phase is Phase.REJECTED
    assert "no approval" in plan.reason
    assert journal.weights == {"b": 100, "c": 0}


def test_a_canary_that_crash_loops_is_rolled_back() -> None:
    health = READY | {"c": Health(failure="exit 1")}
    assert decide(running(Phase.STEP, 0), PASSED, health=health)[0].state.phase is Phase.ROLLED_BACK
    assert decide(running(Phase.AWAITING_READY), PASSED, health=health)[0].state.phase is Phase.REJECTED


def test_a_canary_that_is_not_ready_does_not_advance() -> None:
    plan, _ = decide(running(Phase.STEP, 0), PASSED, health={"b": Health(ready=True)})
    assert not plan.changes
    assert "not ready" in plan.reason


def test_an_abort_gives_stable_all_traffic() -> None:
    plan, journal = decide(running(Phase.STEP, 1, command=command(CommandKind.ABORT)), PASSED)
    assert plan.state.phase is Phase.ABORTED
    assert plan.decided_at == 9.5
    assert journal.weights == {"b": 100, "c": 0}
    assert journal.command is None


def test_a_rollback_while_a_canary_takes_traffic_goes_to_stable() -> None:
    plan, journal = decide(running(Phase.BAKING, 2, command=command(CommandKind.ROLLBACK)), PASSED)
    assert plan.state.phase is Phase.ROLLED_BACK
    assert (journal.champion, journal.weights) == ("b", {"b": 100, "c": 0})


def test_a_rollback_before_the_approval_ends_the_rollout_and_goes_to_n_minus_1() -> None:
    plan, journal = decide(running(Phase.AWAITING_APPROVAL, approvals=(), command=command(CommandKind.ROLLBACK)))
    assert plan.state.phase is Phase.ABORTED
    plan, journal = decide(journal)
    assert plan.state.phase is Phase.ROLLED_BACK
    assert journal.weights == {"a": 100, "b": 0}
    assert (journal.champion, journal.previous, journal.command) == ("a", None, None)


def test_a_rollback_by_command_restores_n_minus_1_and_is_recorded() -> None:
    idle = Journal(history=term("a", "b", "c"), weights={"c": 100}, command=command(CommandKind.ROLLBACK))
    plan, journal = decide(idle)
    assert plan.weights == {"b": 100, "c": 0}
    assert (journal.champion, journal.previous) == ("b", "a")
    assert journal.rollouts[-1].release == "c"
    assert journal.transitions[-1].decided_at == 9.5
    assert journal.transitions[-1].release == "c"


def test_a_rollback_by_command_waits_until_n_minus_1_is_ready() -> None:
    idle = Journal(history=term("a", "b"), weights={"b": 100}, command=command(CommandKind.ROLLBACK))
    plan, _ = decide(idle, health={"b": Health(ready=True)})
    assert not plan.changes
    assert "not ready" in plan.reason


def test_a_rollback_to_the_release_that_has_all_traffic_moves_nothing() -> None:
    """The person confirmed a rollback to b, and then the evidence rolled the canary back. The person did not ask for N-1."""
    order = dataclasses.replace(command(CommandKind.ROLLBACK), target="b")
    idle = Journal(history=term("a", "b"), weights={"b": 100, "c": 0}, state=State(phase=Phase.ROLLED_BACK), command=order)
    plan, journal = decide(idle)
    assert (journal.champion, journal.weights, journal.command) == ("b", {"b": 100, "c": 0}, None)
    assert (plan.decided_at, journal.transitions[-1].commanded_by) == (9.5, "kim")
    assert "all the traffic already" in plan.reason
    waiting = running(Phase.AWAITING_READY, command=order)
    plan, journal = decide(waiting)
    assert (journal.state.phase, journal.target, journal.command) == (Phase.AWAITING_READY, "c", None), (
        "the next rollout continues"
    )
    plan, journal = decide(running(Phase.STEP, 0, command=order))
    assert (plan.state.phase, journal.champion) == (Phase.ROLLED_BACK, "b")


def test_a_rollback_to_n_minus_1_goes_there_although_a_canary_has_started() -> None:
    order = dataclasses.replace(command(CommandKind.ROLLBACK), target="a")
    _, journal = decide(running(Phase.STEP, 0, command=order))
    assert journal.weights == {"b": 100, "c": 0}
    _, journal = decide(journal)
    assert (journal.champion, journal.weights) == ("a", {"a": 100, "b": 0})
    idle = Journal(history=term("x", "b"), weights={"b": 100}, command=order)
    plan, journal = decide(idle)
    assert "not N-1 any more" in plan.reason
    assert (journal.champion, journal.command) == ("b", None)


def test_a_new_request_keeps_a_waiting_rollback_and_drops_other_commands() -> None:
    for kind, kept in ((CommandKind.ROLLBACK, True), (CommandKind.ABORT, False), (CommandKind.PROMOTE, False)):
        idle = Journal(history=term("a", "b"), weights={"b": 100}, command=command(kind))
        assert (begin(idle, request()).command is not None) is kept


def test_a_rollback_that_is_impossible_is_refused_and_ends_no_rollout() -> None:
    """If it waited for ever, it would abort every request that comes after it."""
    order = command(CommandKind.ROLLBACK)
    idle = Journal(history=term("a", "b"), weights={"b": 100}, command=order)
    gone = READY | {"a": Health(failure="ImagePullBackOff")}
    plan, journal = decide(idle, health=gone)
    assert "refused: N-1's server failed: ImagePullBackOff" in plan.reason
    assert (plan.decided_at, journal.command, journal.weights) == (9.5, None, {"b": 100})
    slow = READY | {"a": Health()}
    assert not decide(idle, health=slow)[0].changes
    plan, journal = decide(idle, now=2000.0, health=slow)
    assert "not ready within 1000 s" in plan.reason
    for phase, step in ((Phase.AWAITING_READY, None), (Phase.AWAITING_APPROVAL, None)):
        plan, journal = decide(running(phase, step, command=order), health=slow)
        assert (journal.target, journal.command) == ("c", None)
        assert "refused" in plan.reason


def test_a_rollback_without_n_minus_1_is_refused_and_removed() -> None:
    idle = Journal(history=term("b"), weights={"b": 100}, command=command(CommandKind.ROLLBACK))
    plan, journal = decide(idle)
    assert "no N-1" in plan.reason
    assert journal.weights == {"b": 100}
    assert journal.command is None


def test_a_promote_command_replaces_the_evidence_but_not_the_bake_the_approval_or_a_rollback() -> None:
    order = command(CommandKind.PROMOTE)
    plan, journal = decide(running(Phase.STEP, 0, command=order))
    assert plan.weights == {"b": 5, "c": 95}
    assert plan.state.promoted_by == "kim"
    assert journal.transitions[-1].commanded_by == "kim"
    assert decide(journal, PASSED, now=80.0)[1].transitions[-1].commanded_by == "", "no person ordered the end of the bake"
    assert not decide(journal, now=69.0)[0].changes
    assert decide(journal, now=70.0)[0].state.phase is Phase.PROMOTED
    assert decide(journal, FAILED, now=70.0)[0].state.phase is Phase.ROLLED_BACK
    assert decide(running(Phase.STEP, 0, command=order), FAILED)[0].state.phase is Phase.ROLLED_BACK
    plan, journal = decide(running(Phase.STEP, 0, command=order, approvals=()))
    assert "refused" in plan.reason
    assert (journal.state.phase, journal.weights, journal.command) == (Phase.STEP, {"b": 95, "c": 5}, None)


def test_a_promote_command_during_the_bake_does_not_restart_it() -> None:
    _, journal = decide(running(Phase.BAKING, 2, command=command(CommandKind.PROMOTE)), now=50.0)
    assert journal.state.since == 0.0
    assert decide(journal, now=60.0)[0].state.phase is Phase.PROMOTED


def test_a_release_that_comes_back_is_not_its_own_n_minus_1() -> None:
    journal = dataclasses.replace(running(Phase.BAKING, 2), history=term("c", "b"))
    _, journal = decide(journal, PASSED, now=100.0)
    assert (journal.champion, journal.previous) == ("c", "b")
