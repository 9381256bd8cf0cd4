"""The controller in the simulated cluster, with the two options of a rollout: a shadow before the steps, and a holdback."""

from __future__ import annotations

from seldon_canaries import A, B, make_cluster
from simulated_cluster import SimulatedCluster, SimulatedServer

from sluice.errors import ServiceError
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.decisions.states import Journal, Phase


def finish(cluster: SimulatedCluster) -> Journal:
    return cluster.run(cluster.controller("two"), until=lambda journal: journal.request is None)


def list_states(journal: Journal) -> list[str]:
    return [one.to_state for one in journal.transitions if one.release == B]


def test_a_canary_whose_answers_differ_little_passes_the_shadow() -> None:
    cluster = make_cluster(SimulatedServer(), approved=True, shadow_requests=100)
    journal = finish(cluster)
    assert list_states(journal) == ["awaiting_ready", "awaiting_approval", "shadow", "step-1", "step-2", "baking", "promoted"]
    left = next(one for one in journal.transitions if one.to_state == "step-1")
    assert "shadow: the canary's answers differ" in left.reason
    assert left.evidence["shadow_requests"] >= 100
    assert left.evidence["canary_requests"] == 0


def test_a_canary_whose_answers_differ_much_gets_no_user_request() -> None:
    cluster = make_cluster(SimulatedServer(difference=0.4), approved=True, shadow_requests=100)
    journal = finish(cluster)
    assert journal.rollouts[-1].outcome is Phase.REJECTED
    assert "shadow: the canary's answers differ" in journal.rollouts[-1].reason
    assert B not in cluster.counts, "no user's request reached it"


def test_the_shadow_continues_under_another_controller() -> None:
    cluster = make_cluster(SimulatedServer(difference=0.1), approved=True, shadow_requests=200)
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.SHADOW)
    for _ in range(8):
        cluster.tick(control)
    known = control.collector.evidence
    assert known is not None
    successor = cluster.controller("three")
    while not cluster.tick(successor):
        pass
    taken_over = successor.collector.evidence
    assert taken_over is not None
    assert taken_over.shadow.requests >= known.shadow.requests - 150, "the lease did not contain the last rounds yet"
    assert cluster.journal.read().state.phase is Phase.SHADOW, (
        "a difference of 0.1 is certainly neither within the limit nor above it"
    )


def test_a_shadow_without_recent_requests_waits_until_the_deadline() -> None:
    cluster = make_cluster(SimulatedServer(), approved=True, shadow_requests=100)

    class UnreachableShadow:
        def poll(self, *_: object) -> Comparison:
            raise ServiceError("the champion's server does not return its recent requests")

        def close(self) -> None:
            pass

    control = cluster.controller("two")
    control.shadow = UnreachableShadow()
    for _ in range(100):
        cluster.tick(control)
    assert cluster.journal.read().state.phase is Phase.SHADOW
    assert "does not return" in control.platform.status["trouble"]
    journal = cluster.run(control, until=lambda journal: journal.request is None)
    assert journal.rollouts[-1].outcome is Phase.REJECTED


def test_a_champion_that_keeps_no_requests_lets_the_rollout_continue_without_a_shadow() -> None:
    cluster = make_cluster(SimulatedServer(), approved=True, shadow_requests=100)

    class ImpossibleShadow:
        def poll(self, *_: object) -> Comparison:
            return Comparison(impossible="the champion keeps no requests")

        def close(self) -> None:
            pass

    control = cluster.controller("two")
    control.shadow = ImpossibleShadow()
    journal = cluster.run(control, until=lambda journal: journal.request is None)
    assert journal.champion == B
    assert "no shadow: the champion keeps no requests" in [one.reason for one in journal.transitions]


def test_a_shared_incident_in_the_bake_does_not_roll_the_canary_back() -> None:
    """With enough traffic of stable, the canary waits in the bake. Without any, it moves back to the step before."""
    states = {}
    for holdback in (0, 10):
        cluster = make_cluster(SimulatedServer(), approved=True, holdback=holdback, bake_seconds=60.0)
        control = cluster.controller("two")
        cluster.run(control, until=lambda journal: journal.state.phase is Phase.BAKING)
        for _ in range(10):
            cluster.tick(control)
        assert cluster.weights() == ({A: 10, B: 90} if holdback else {B: 100})
        cluster.shared_error_rate = 0.2
        for _ in range(30):
            cluster.tick(control)
        cluster.shared_error_rate = None
        journal = cluster.run(control, until=lambda journal: journal.request is None)
        states[holdback] = list_states(journal)[4:]
    assert states == {0: ["baking", "step-2", "baking", "promoted"], 10: ["baking", "promoted"]}
