"""A canary whose release is not verified takes no traffic, and nothing else waits for it."""

from __future__ import annotations

import dataclasses

import pytest
from plan_journals import FAILED, PASSED, READY, command, decide, request, running, term

from sluice.rollout.decisions.health import Health, Verification
from sluice.rollout.decisions.states import CommandKind, Journal, Phase

WAITING, REFUSED = Verification(waiting="the registry does not answer"), Verification(refusal="it is not signed")


def unverified(found: Verification, release: str = "c") -> dict[str, Health]:
    return READY | {release: Health(ready=True, verification=found)}


@pytest.mark.parametrize("phase", [Phase.AWAITING_READY, Phase.AWAITING_APPROVAL, Phase.SHADOW, Phase.STEP, Phase.BAKING])
def test_a_canary_that_cannot_be_verified_stays_where_it_is_and_says_so(phase: Phase) -> None:
    journal = running(phase, {Phase.STEP: 0, Phase.BAKING: 2}.get(phase))
    plan, after = decide(journal, PASSED, now=100.0, health=unverified(WAITING))
    assert (plan.changes, after) == (False, journal)
    assert "the registry does not answer" in plan.reason


def test_a_first_release_that_cannot_be_verified_does_not_ask_for_its_approval() -> None:
    journal = running(history=(), weights={})
    plan, _ = decide(journal, health={"c": Health(held_for_approval=True, verification=WAITING)})
    assert (plan.changes, plan.reason) == (False, "the registry does not answer")


@pytest.mark.parametrize(
    ("phase", "step", "end"),
    [
        (Phase.AWAITING_READY, None, Phase.REJECTED),
        (Phase.AWAITING_APPROVAL, None, Phase.REJECTED),
        (Phase.SHADOW, None, Phase.REJECTED),
        (Phase.STEP, 0, Phase.ROLLED_BACK),
    ],
)
def test_a_refused_canary_ends_and_stable_keeps_the_traffic(phase: Phase, step: int | None, end: Phase) -> None:
    plan, after = decide(running(phase, step), PASSED, health=unverified(REFUSED))
    assert (plan.state.phase, plan.reason) == (end, "the release is refused: it is not signed")
    assert (after.desired_weights, after.champion, after.request) == ({"b": 100}, "b", None)
    assert after.rollouts[-1].reason == plan.reason
    assert after.condemned == (), "nothing is known about its model, and an honest release may have the same one"


def test_a_refused_first_release_gets_no_traffic() -> None:
    health = {"c": Health(held_for_approval=True, verification=REFUSED)}
    plan, after = decide(running(history=(), weights={}), health=health)
    assert (plan.state.phase, after.desired_weights) == (Phase.REJECTED, {})


def test_a_command_to_promote_does_not_replace_the_verification() -> None:
    journal = running(Phase.STEP, 0, command=command(CommandKind.PROMOTE))
    plan, after = decide(journal, PASSED, health=unverified(WAITING))
    assert plan.reason == "promote by kim refused: the registry does not answer"
    assert after.weights == journal.weights


def test_a_canary_that_fails_is_rolled_back_although_it_cannot_be_verified() -> None:
    plan, after = decide(running(Phase.STEP, 0), FAILED, health=unverified(WAITING))
    assert (plan.state.phase, plan.reason, after.desired_weights) == (Phase.ROLLED_BACK, "e-value 120", {"b": 100})


@pytest.mark.parametrize("found", [WAITING, REFUSED])
@pytest.mark.parametrize("kind", [CommandKind.ROLLBACK, CommandKind.ABORT])
def test_a_command_to_go_back_does_not_wait_for_a_verification(kind: CommandKind, found: Verification) -> None:
    plan, after = decide(running(Phase.STEP, 0, command=command(kind)), health=unverified(found))
    assert plan.commanded_by == "kim"
    assert after.desired_weights == {"b": 100}


def test_a_rollback_to_n_minus_1_does_not_wait_although_a_rollout_of_n_minus_1_cannot_be_verified() -> None:
    journal = running(request=request("a"), command=command(CommandKind.ROLLBACK))
    health = unverified(WAITING, "a")
    _, journal = decide(journal, health=health)
    assert journal.request is None
    plan, after = decide(journal, health=health)
    assert (plan.reason, after.desired_weights) == ("rolled back to N-1 by kim", {"a": 100})


def test_a_rollout_that_was_never_verified_ends_at_its_deadline_with_the_reason() -> None:
    plan, _ = decide(running(), now=2000.0, health=unverified(WAITING))
    assert plan.state.phase is Phase.REJECTED
    assert plan.reason.endswith("last: the registry does not answer")


def test_only_the_canarys_verification_matters() -> None:
    journal = Journal(history=term("a", "b"), weights={"b": 100}, command=command(CommandKind.ROLLBACK))
    health = {name: dataclasses.replace(found, verification=WAITING) for name, found in READY.items()}
    assert decide(journal, health=health)[1].desired_weights == {"a": 100}
