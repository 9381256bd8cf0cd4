"""What befalls the controller, at each state: killed, cut off, in conflict, not alone, its clock wrong."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from lanes import wait_for
from load import Load

from sluice.rollout.requests import approvals, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from lanes import Lane

RATE = 60.0
AWAY_SECONDS = 30.0
GOOD = ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]


def run(lane: Lane, act: Callable[[Lane, Load], str]) -> None:
    """Do something under traffic; nothing but what the canary answered badly may fail, and all agrees in the end."""
    with Load(lane.url, RATE) as load:
        canary = act(lane, load)
        lane.check_converged()
        champion = lane.read().champion or ""
        wait_for(lambda: load.of(champion, since=time.time() - 0.5) > 10, what="traffic at the champion")
    lane.check_evidence(canary)
    assert not load.lost(canary), load.lost(canary)[:5]


def check_promoted(lane: Lane, canary: str) -> str:
    """A good canary's whole way, with nothing done twice."""
    assert lane.wait_end(canary) == "promoted"
    assert [one.to_state for one in lane.transitions(canary)] == GOOD
    lane.wait_applied(canary)
    return canary


def kill_at_every_state(lane: Lane, load: Load) -> str:
    canary = lane.begin(approved=False)
    lane.restart()
    lane.wait_state("awaiting_approval")
    lane.restart()
    approvals.approve(lane.project, canary, by="ann")
    for state in ("step-1", "step-2", "baking"):
        lane.wait_state(state)
        lane.restart()
    check_promoted(lane, canary)
    lane.restart()
    wait_for(lane.journal.is_supervised)
    return canary


def kill_as_it_turns_bad(lane: Lane, load: Load) -> str:
    canary = lane.begin()
    lane.wait_state("step-1")
    lane.fault(canary, status=500)
    wait_for(load.failed)
    lane.restart()
    assert lane.wait_end(canary) == "rolled_back"
    return canary


def kill_as_a_person_rolls_back(lane: Lane, load: Load) -> str:
    canary = lane.begin()
    lane.wait_state("step-2")
    lane.controller.kill()
    wait_for(lane.journal.is_supervised)  # the lease is still fresh
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "check_supervised", lambda _file: None)
        commands.abort(lane.project, by="kim")
    lane.start()
    assert lane.wait_end(canary) == "aborted"
    return canary


def test_a_controller_that_is_killed_goes_on_where_it_was(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    together(run, lanes, [kill_at_every_state, kill_as_it_turns_bad, kill_as_a_person_rolls_back])


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_the_api_server_is_away_for_30_s(lanes: list[Lane], together: Callable[..., list[object]], how: str) -> None:
    """A good canary is promoted all the same, wherever it was."""

    def away_at(state: str) -> Callable[[Lane, Load], str]:
        def act(lane: Lane, load: Load) -> str:
            canary = lane.begin()
            lane.wait_state(state)
            before = lane.seen()
            lane.proxy.leave(how)
            cut = time.time()
            wait_for(lambda: time.time() > cut + AWAY_SECONDS, AWAY_SECONDS + 5)
            decided = lane.read().transitions[-1]
            assert decided.time < cut + 1.0, "nothing can be decided meanwhile"
            assert lane.seen() == before or decided.time > cut - 1.0
            lane.proxy.come_back()
            return check_promoted(lane, canary)

        return act

    states = {"refused": ("awaiting_ready", "step-1", "baking"), "silent": ("awaiting_approval", "step-2", "step-1")}[how]
    together(run, lanes, [away_at(state) for state in states])


def test_a_canary_turns_bad_while_the_api_server_is_away(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """What was counted meanwhile speaks as soon as it is back."""

    def act(lane: Lane, state: str) -> None:
        def turn(lane: Lane, load: Load) -> str:
            canary = lane.begin()
            lane.wait_state(state)
            lane.proxy.leave("refused")
            lane.fault(canary, status=500)
            cut = time.time()
            wait_for(lambda: time.time() > cut + 8.0, 10)
            lane.proxy.come_back()
            back = time.time()
            assert lane.wait_end(canary) == "rolled_back"
            assert lane.wait_applied(canary) < back + 10.0
            return canary

        run(lane, turn)

    together(act, lanes, ["step-1", "step-2", "baking"])


def test_every_write_conflicts(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """Somebody else writes each object right before every other write of it."""

    def good(lane: Lane, load: Load) -> str:
        return check_promoted(lane, lane.begin())

    def bad(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-1")
        lane.fault(canary, status=400)
        assert lane.wait_end(canary) == "rolled_back"
        return canary

    def by_hand(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state("step-2")
        commands.rollback(lane.project, by="kim")
        assert lane.wait_end(canary) == "rolled_back"
        return canary

    def act(lane: Lane, what: Callable[[Lane, Load], str]) -> None:
        lane.proxy.conflicts, before = True, len(lane.proxy.writes)
        run(lane, what)
        refused = [one for one in lane.proxy.writes[before:] if one[2] == 409]
        assert len(refused) >= 5, "the test did not do what it says"

    together(act, lanes, [good, bad, by_hand])


def stop_and_let_go_on(lane: Lane, load: Load) -> str:
    """The one that acts is frozen for longer than its lease, another takes over, and the first wakes up."""
    canary = lane.begin()
    lane.wait_state("step-1")
    first, second = lane.controllers[-2:]
    holding = first if "holding the lease" in first.log.read_text().split("controls SeldonDeployment")[-1] else second
    holding.process.send_signal(signal.SIGSTOP)
    try:
        lane.wait_state("step-2", "baking", "promoted", seconds=40)
    finally:
        holding.process.send_signal(signal.SIGCONT)
    return check_promoted(lane, canary)


def kill_the_one_that_acts(lane: Lane, load: Load) -> str:
    canary = lane.begin()
    lane.wait_state("step-1")
    lane.controllers[-2].kill()
    check_promoted(lane, canary)
    return canary


def leave_both(lane: Lane, load: Load) -> str:
    return check_promoted(lane, lane.begin())


def test_two_controllers_do_everything_once(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    def act(lane: Lane, what: Callable[[Lane, Load], str]) -> None:
        first = lane.controller
        second = lane.start()
        wait_for(lambda: "controls SeldonDeployment" in second.log.read_text(), what="the second controller")
        try:
            run(lane, what)
        finally:
            first.stop()

    together(act, lanes, [stop_and_let_go_on, kill_the_one_that_acts, leave_both])


def jump(seconds: float, state: str, outcome: str, *, back_after: float = 0.0) -> Callable[[Lane, Load], str]:
    """The controller's clock is off from one state on."""

    def act(lane: Lane, load: Load) -> str:
        canary = lane.begin()
        lane.wait_state(state)
        jumped = time.time()
        lane.clock.write_text(str(seconds))
        if back_after:
            wait_for(lambda: time.time() > jumped + back_after, back_after + 5)
            assert lane.read().target == canary, "held"
            lane.clock.write_text("0")
        assert lane.wait_end(canary) == outcome
        return canary

    return act


def test_the_clock_jumps(lanes: list[Lane], together: Callable[..., list[object]]) -> None:
    """Forward over the deadline: rolled back. Backward: held until it is right again. Over the bake: only with evidence."""
    acts = [
        jump(7200.0, "step-1", "rolled_back"),
        jump(-300.0, "step-1", "promoted", back_after=8.0),
        jump(60.0, "baking", "promoted"),
    ]
    together(run, lanes, acts)
