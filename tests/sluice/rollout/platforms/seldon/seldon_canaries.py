"""A canary on its way in the cluster in memory, and what must hold whatever befell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seldon_world import SeldonWorld, Server, make_settings

from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest

if TYPE_CHECKING:
    from sluice.rollout.decisions.states import Journal, Phase
    from sluice.rollout.round import ControlLoop

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
QUICK: dict[str, Any] = {"margin": 0.05, "first_look": 60, "bake_seconds": 5.0, "deadline_seconds": 900.0}


def make_world(canary: Server | None = None, *, approved: bool = False, **rollout: object) -> SeldonWorld:
    """Release A is champion; B is on its way to be a canary."""
    world = SeldonWorld(make_settings(**(QUICK | rollout)))
    world.champion(A, 1)
    world.servers[B] = canary or Server()
    world.now += 20  # the lease of the controller that made A champion
    world.request(B, 2)
    if approved:
        world.approve(B)
    return world


def ended(journal: Journal) -> bool:
    return journal.request is None


def reach(world: SeldonWorld, phase: Phase) -> ControlLoop:
    """A controller that has brought the canary there."""
    control = world.controller("two")
    world.run(control, until=lambda journal: journal.state.phase is phase)
    return control


def check_invariants(world: SeldonWorld) -> None:
    """What holds whatever happened: everybody was answered, and nobody was promoted unseen."""
    journal = world.journal.read()
    assert world.lost == 0
    assert world.weights() == journal.desired_weights
    assert sum(journal.desired_weights.values()) == 100
    for transition in journal.transitions:
        if transition.to_state in {"step-2", "baking", "promoted"} and transition.release != A:
            assert transition.evidence["looked"] >= 60
        if transition.from_state == "shadow" and transition.to_state == "step-1":
            assert transition.evidence["shadow_requests"] >= world.settings.rollout.shadow_requests
    for one in world.predictors():
        if read_predictor_digest(one) in {journal.champion, journal.previous}:
            assert one["replicas"] >= 1
