"""What befalls the controller, at each state: killed, cut off, in conflict, not alone, its clock wrong."""

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
AWAY_SECONDS = 30.0
GOOD = ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]


def run(deployment: DeploymentUnderTest, act: Callable[[DeploymentUnderTest, Load], str]) -> None:
    """Do something under traffic; nothing but what the canary answered badly may fail, and all agrees in the end."""
    with Load(deployment.url, RATE) as load:
        canary = act(deployment, load)
        deployment.check_converged()
        champion = deployment.read_journal().champion or ""
        wait_for(lambda: load.count_answers(champion, since=time.time() - 0.5) > 10, what="traffic at the champion")
    deployment.check_evidence(canary)
    assert not load.lost(canary), load.lost(canary)[:5]


def check_promoted(deployment: DeploymentUnderTest, canary: str) -> str:
    """A good canary's whole way, with nothing done twice."""
    assert deployment.wait_end(canary) == "promoted"
    assert [one.to_state for one in deployment.transitions(canary)] == GOOD
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


def kill_as_it_turns_bad(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    deployment.set_fault(canary, status=500)
    wait_for(load.failed)
    deployment.restart_controller()
    assert deployment.wait_end(canary) == "rolled_back"
    return canary


def kill_as_a_person_rolls_back(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-2")
    deployment.controller.kill()
    wait_for(deployment.journal.is_supervised)  # the lease is still fresh
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "check_supervised", lambda _file: None)
        commands.abort(deployment.project, by="kim")
    deployment.start_controller()
    assert deployment.wait_end(canary) == "aborted"
    return canary


def test_a_controller_that_is_killed_goes_on_where_it_was(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    in_parallel(run, deployments, [kill_at_every_state, kill_as_it_turns_bad, kill_as_a_person_rolls_back])


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_the_api_server_is_away_for_30_s(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], how: str
) -> None:
    """A good canary is promoted all the same, wherever it was."""

    def away_at(state: str) -> Callable[[DeploymentUnderTest, Load], str]:
        def act(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            before = deployment.route_weights()
            deployment.proxy.interrupt(how)
            cut = time.time()
            wait_for(lambda: time.time() > cut + AWAY_SECONDS, AWAY_SECONDS + 5)
            decided = deployment.read_journal().transitions[-1]
            assert decided.time < cut + 1.0, "nothing can be decided meanwhile"
            assert deployment.route_weights() == before or decided.time > cut - 1.0
            deployment.proxy.restore()
            return check_promoted(deployment, canary)

        return act

    states = {"refused": ("awaiting_ready", "step-1", "baking"), "silent": ("awaiting_approval", "step-2", "step-1")}[how]
    in_parallel(run, deployments, [away_at(state) for state in states])


def test_a_canary_turns_bad_while_the_api_server_is_away(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """What was counted meanwhile speaks as soon as it is back."""

    def act(deployment: DeploymentUnderTest, state: str) -> None:
        def turn(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            deployment.proxy.interrupt("refused")
            deployment.set_fault(canary, status=500)
            cut = time.time()
            wait_for(lambda: time.time() > cut + 8.0, 10)
            deployment.proxy.restore()
            back = time.time()
            assert deployment.wait_end(canary) == "rolled_back"
            assert deployment.wait_applied(canary) < back + 10.0
            return canary

        run(deployment, turn)

    in_parallel(act, deployments, ["step-1", "step-2", "baking"])


def test_every_write_conflicts(deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]) -> None:
    """Somebody else writes each object right before every other write of it."""

    def good(deployment: DeploymentUnderTest, load: Load) -> str:
        return check_promoted(deployment, deployment.start_rollout())

    def bad(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        deployment.set_fault(canary, status=400)
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def by_hand(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-2")
        commands.rollback(deployment.project, by="kim")
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def act(deployment: DeploymentUnderTest, what: Callable[[DeploymentUnderTest, Load], str]) -> None:
        deployment.proxy.conflicts, before = True, len(deployment.proxy.writes)
        run(deployment, what)
        refused = [one for one in deployment.proxy.writes[before:] if one[2] == 409]
        assert len(refused) >= 5, "the test did not do what it says"

    in_parallel(act, deployments, [good, bad, by_hand])


def stop_and_let_go_on(deployment: DeploymentUnderTest, load: Load) -> str:
    """The one that acts is frozen for longer than its lease, another takes over, and the first wakes up."""
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    first, second = deployment.controllers[-2:]
    holding = first if "holding the lease" in first.log.read_text().split("controls SeldonDeployment")[-1] else second
    holding.process.send_signal(signal.SIGSTOP)
    try:
        deployment.wait_state("step-2", "baking", "promoted", seconds=40)
    finally:
        holding.process.send_signal(signal.SIGCONT)
    return check_promoted(deployment, canary)


def kill_the_one_that_acts(deployment: DeploymentUnderTest, load: Load) -> str:
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    deployment.controllers[-2].kill()
    check_promoted(deployment, canary)
    return canary


def leave_both(deployment: DeploymentUnderTest, load: Load) -> str:
    return check_promoted(deployment, deployment.start_rollout())


def test_two_controllers_do_everything_once(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def act(deployment: DeploymentUnderTest, what: Callable[[DeploymentUnderTest, Load], str]) -> None:
        first = deployment.controller
        second = deployment.start_controller()
        wait_for(lambda: "controls SeldonDeployment" in second.log.read_text(), what="the second controller")
        try:
            run(deployment, what)
        finally:
            first.stop()

    in_parallel(act, deployments, [stop_and_let_go_on, kill_the_one_that_acts, leave_both])


def jump(seconds: float, state: str, outcome: str, *, back_after: float = 0.0) -> Callable[[DeploymentUnderTest, Load], str]:
    """The controller's clock is off from one state on."""

    def act(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state(state)
        jumped = time.time()
        deployment.clock.write_text(str(seconds))
        if back_after:
            wait_for(lambda: time.time() > jumped + back_after, back_after + 5)
            assert deployment.read_journal().target == canary, "held"
            deployment.clock.write_text("0")
        assert deployment.wait_end(canary) == outcome
        return canary

    return act


def test_the_clock_jumps(deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]) -> None:
    """Forward over the deadline: rolled back. Backward: held until it is right again. Over the bake: only with evidence."""
    acts = [
        jump(7200.0, "step-1", "rolled_back"),
        jump(-300.0, "step-1", "promoted", back_after=8.0),
        jump(60.0, "baking", "promoted"),
    ]
    in_parallel(run, deployments, acts)
