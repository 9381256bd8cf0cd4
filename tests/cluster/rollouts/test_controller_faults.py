"""Faults of the controller at each state of a rollout.

It is killed, it cannot reach the API server, its writes conflict, a second controller runs, or its clock is wrong.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from deployments_under_test import wait_for
from load import Load

from sluice.rollout.requests import approvals, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest

RATE = 60.0
OUTAGE_SECONDS = 30.0
TRANSITIONS = ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]


def run(deployment: DeploymentUnderTest, act: Callable[[DeploymentUnderTest, Load], str]) -> None:
    """Run a test step under traffic. Only the canary's own answers may fail, and all objects must agree in the end."""
    with Load(deployment.url, RATE) as load:
        canary = act(deployment, load)
        deployment.check_converged()
        champion = deployment.read_journal().champion or ""
        wait_for(lambda: load.count_answers(champion, since=time.time() - 0.5) > 10, what="traffic at the champion")
    deployment.check_evidence(canary)
    assert not load.lost(canary), load.lost(canary)[:5]


def check_promoted(deployment: DeploymentUnderTest, canary: str) -> str:
    """Check that a healthy canary is promoted and that no transition happens twice. Return the canary."""
    assert deployment.wait_end(canary) == "promoted"
    assert [one.to_state for one in deployment.transitions(canary)] == TRANSITIONS
    deployment.wait_applied(canary)
    return canary


def kill_at_every_state(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout(approved=False)
    deployment.restart_controller()
    deployment.wait_state("awaiting_approval")
    deployment.restart_controller()
    approvals.approve(deployment.project, canary, by="ann")
    for state in ("step-1", "step-2", "baking"):
        deployment.wait_state(state)
        deployment.restart_controller()
    check_promoted(deployment, canary)
    deployment.restart_controller()
    wait_for(deployment.journal.is_supervised)
    return canary


def kill_while_the_canary_begins_to_fail(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    deployment.set_fault(canary, status=500)
    wait_for(load.failed)
    deployment.restart_controller()
    assert deployment.wait_end(canary) == "rolled_back"
    return canary


def kill_before_a_person_aborts(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-2")
    deployment.controller.kill()
    wait_for(deployment.journal.is_supervised)  # The lease has not expired yet.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "check_supervised", lambda _file: None)
        commands.abort(deployment.project, by="kim")
    deployment.start_controller()
    assert deployment.wait_end(canary) == "aborted"
    return canary


def test_the_next_controller_continues_after_one_is_killed(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    in_parallel(run, deployments, [kill_at_every_state, kill_while_the_canary_begins_to_fail, kill_before_a_person_aborts])


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_the_controller_promotes_a_healthy_canary_after_an_outage_of_the_api_server_of_30_s(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], how: str
) -> None:
    """The state in which the outage begins does not matter."""

    def interrupt_at(state: str) -> Callable[[DeploymentUnderTest, Load], str]:
        def act(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_accepted(canary)
            deployment.wait_state(state)
            before = deployment.route_weights()
            deployment.proxy.interrupt(how)
            cut = time.time()
            wait_for(lambda: time.time() > cut + OUTAGE_SECONDS, OUTAGE_SECONDS + 5)
            decided = deployment.read_journal().transitions[-1]
            assert decided.time < cut + 1.0, "the controller decided something during the outage"
            assert deployment.route_weights() == before or decided.time > cut - 1.0
            deployment.proxy.restore()
            return check_promoted(deployment, canary)

        return act

    states = {"refused": ("awaiting_ready", "step-1", "baking"), "silent": ("awaiting_approval", "step-2", "step-1")}[how]
    in_parallel(run, deployments, [interrupt_at(state) for state in states])


def test_the_controller_rolls_back_a_canary_that_begins_to_fail_during_an_outage_of_the_api_server(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """The requests that were counted during the outage are evidence as soon as the API server answers again."""

    def act(deployment: DeploymentUnderTest, state: str) -> None:
        def fail_during_outage(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            deployment.proxy.interrupt("refused")
            deployment.set_fault(canary, status=500)
            cut = time.time()
            wait_for(lambda: time.time() > cut + 8.0, 10)
            deployment.proxy.restore()
            restored = time.time()
            assert deployment.wait_end(canary) == "rolled_back"
            assert deployment.wait_applied(canary) < restored + 10.0
            return canary

        run(deployment, fail_during_outage)

    in_parallel(act, deployments, ["step-1", "step-2", "baking"])


def test_rollouts_end_as_usual_when_every_write_conflicts(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """Another client changes each object right before every second write to it."""

    def promote_healthy(deployment: DeploymentUnderTest, load: Load) -> str:
        return check_promoted(deployment, deployment.start_rollout())

    def roll_back_failing(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        deployment.set_fault(canary, status=400)
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def roll_back_by_hand(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-2")
        commands.rollback(deployment.project, by="kim")
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def act(deployment: DeploymentUnderTest, what: Callable[[DeploymentUnderTest, Load], str]) -> None:
        deployment.proxy.conflicts, before = True, len(deployment.proxy.writes)
        run(deployment, what)
        refused = [one for one in deployment.proxy.writes[before:] if one[2] == 409]
        assert len(refused) >= 5, "too few writes conflicted, so the test shows nothing"

    in_parallel(act, deployments, [promote_healthy, roll_back_failing, roll_back_by_hand])


def freeze_and_continue_the_active_one(deployment: DeploymentUnderTest, load: Load) -> str:
    """Freeze the active controller for longer than its lease. The other one takes over, and then the first one continues."""
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    first, second = deployment.controllers[-2:]
    holding = first if "holding the lease" in first.log.read_text().split("controls ModelRollout")[-1] else second
    holding.process.send_signal(signal.SIGSTOP)
    try:
        deployment.wait_state("step-2", "baking", "promoted", seconds=40)
    finally:
        holding.process.send_signal(signal.SIGCONT)
    return check_promoted(deployment, canary)


def kill_the_active_one(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    deployment.controllers[-2].kill()
    check_promoted(deployment, canary)
    return canary


def keep_both(deployment: DeploymentUnderTest, load: Load) -> str:
    return check_promoted(deployment, deployment.start_rollout())


def test_with_two_controllers_every_transition_happens_once(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def act(deployment: DeploymentUnderTest, what: Callable[[DeploymentUnderTest, Load], str]) -> None:
        first = deployment.controller
        second = deployment.start_controller()
        wait_for(lambda: "controls ModelRollout" in second.log.read_text(), what="the second controller")
        try:
            run(deployment, what)
        finally:
            first.stop()

    in_parallel(act, deployments, [freeze_and_continue_the_active_one, kill_the_active_one, keep_both])


def jump_clock(seconds: float, state: str) -> Callable[[DeploymentUnderTest, Load], str]:
    """Return a test step that shifts the clock of the controller's machine when the rollout reaches a state."""

    def act(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state(state)
        deployment.clock.write_text(str(seconds))
        check_promoted(deployment, canary)
        times = {one.to_state: one.time for one in deployment.transitions(canary)}
        assert times["promoted"] - times["baking"] >= deployment.project.settings.rollout.bake_seconds
        assert abs(times["promoted"] - time.time()) < 60, "the journal has the API server's time"
        return canary

    return act


def test_a_clock_that_jumps_changes_no_decision_of_the_controller(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """Deadline, bake and approval follow the API server's clock. The jumps: two hours forward, back, and during the bake."""
    in_parallel(run, deployments, [jump_clock(7200.0, "step-1"), jump_clock(-300.0, "step-1"), jump_clock(60.0, "baking")])
