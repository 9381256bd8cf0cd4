"""The controller in a cluster in memory, with what may stand beside the steps: a shadow before them, a holdback after."""

from __future__ import annotations

from seldon_canaries import A, B, make_world
from seldon_world import SeldonWorld, Server

from sluice.errors import ServiceError
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.decisions.states import Journal, Phase


def finish(world: SeldonWorld) -> Journal:
    return world.run(world.controller("two"), until=lambda journal: journal.request is None)


def visited(journal: Journal) -> list[str]:
    return [one.to_state for one in journal.transitions if one.release == B]


def test_a_canary_whose_answers_are_near_goes_through_the_shadow() -> None:
    world = make_world(Server(), approved=True, shadow_requests=100)
    journal = finish(world)
    assert visited(journal) == ["awaiting_ready", "awaiting_approval", "shadow", "step-1", "step-2", "baking", "promoted"]
    left = next(one for one in journal.transitions if one.to_state == "step-1")
    assert "shadow: the canary's answers differ" in left.reason
    assert left.evidence["shadow_requests"] >= 100
    assert left.evidence["canary_requests"] == 0


def test_a_canary_whose_answers_are_far_off_never_meets_a_user() -> None:
    world = make_world(Server(difference=0.4), approved=True, shadow_requests=100)
    journal = finish(world)
    assert journal.rollouts[-1].outcome is Phase.REJECTED
    assert "shadow: the canary's answers differ" in journal.rollouts[-1].reason
    assert B not in world.counts, "no request of a user's"


def test_the_shadow_goes_on_where_another_controller_takes_over() -> None:
    world = make_world(Server(difference=0.1), approved=True, shadow_requests=200)
    control = world.controller("two")
    world.run(control, until=lambda journal: journal.state.phase is Phase.SHADOW)
    for _ in range(8):
        world.tick(control)
    known = control.collector.evidence
    assert known is not None
    successor = world.controller("three")
    while not world.tick(successor):
        pass
    taken_over = successor.collector.evidence
    assert taken_over is not None
    assert taken_over.shadow.requests >= known.shadow.requests - 150, "what the lease did not hold yet"
    assert world.journal.read().state.phase is Phase.SHADOW, "0.1 is neither surely within the limit nor surely above"


def test_a_shadow_that_cannot_be_asked_holds_and_the_deadline_ends_it() -> None:
    world = make_world(Server(), approved=True, shadow_requests=100)

    class Silent:
        def poll(self, *_: object) -> Comparison:
            raise ServiceError("the champion's server does not say what it was asked")

        def close(self) -> None:
            pass

    control = world.controller("two")
    control.shadow = Silent()
    for _ in range(100):
        world.tick(control)
    assert world.journal.read().state.phase is Phase.SHADOW
    assert "does not say" in control.platform.status["trouble"]
    journal = world.run(control, until=lambda journal: journal.request is None)
    assert journal.rollouts[-1].outcome is Phase.REJECTED


def test_a_champion_that_keeps_no_requests_is_no_reason_to_wait() -> None:
    world = make_world(Server(), approved=True, shadow_requests=100)

    class Nothing:
        def poll(self, *_: object) -> Comparison:
            return Comparison(impossible="it keeps none")

        def close(self) -> None:
            pass

    control = world.controller("two")
    control.shadow = Nothing()
    journal = world.run(control, until=lambda journal: journal.request is None)
    assert journal.champion == B
    assert "no shadow: it keeps none" in [one.reason for one in journal.transitions]


def test_with_a_holdback_an_incident_of_both_during_the_bake_is_not_the_canary_s_fault() -> None:
    outcomes = {}
    for holdback in (0, 10):
        world = make_world(Server(), approved=True, holdback=holdback, bake_seconds=60.0)
        control = world.controller("two")
        world.run(control, until=lambda journal: journal.state.phase is Phase.BAKING)
        for _ in range(10):
            world.tick(control)
        assert world.weights() == ({A: 10, B: 90} if holdback else {B: 100})
        world.shared_error_rate = 0.2
        for _ in range(30):
            world.tick(control)
        world.shared_error_rate = None
        outcomes[holdback] = world.run(control, until=lambda journal: journal.request is None).rollouts[-1].outcome
    assert outcomes == {0: Phase.ROLLED_BACK, 10: Phase.PROMOTED}
