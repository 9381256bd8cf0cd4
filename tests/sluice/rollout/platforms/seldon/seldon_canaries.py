"""A canary in the simulated cluster, and the invariants that must hold after every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulated_cluster import WRITES, SimulatedCluster, SimulatedServer, make_settings

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest

if TYPE_CHECKING:
    from sluice.rollout.decisions.states import Journal, Phase
    from sluice.rollout.round import ControlLoop

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
QUICK: dict[str, Any] = {"margin": 0.05, "first_look": 60, "bake_seconds": 5.0, "deadline_seconds": 900.0}


def make_cluster(canary: SimulatedServer | None = None, *, approved: bool = False, **rollout: object) -> SimulatedCluster:
    """Return a cluster in which A is champion and a rollout of B is requested."""
    cluster = SimulatedCluster(make_settings(**(QUICK | rollout)))
    cluster.make_champion(A, 1)
    cluster.servers[B] = canary or SimulatedServer()
    cluster.now += 20  # the lease of the controller that made A champion expires
    cluster.request(B, 2)
    if approved:
        cluster.approve(B)
    return cluster


def ended(journal: Journal) -> bool:
    return journal.request is None


def reach(cluster: SimulatedCluster, phase: Phase) -> ControlLoop:
    """Return a controller that has brought the canary to this phase."""
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.state.phase is phase)
    return control


def check_invariants(cluster: SimulatedCluster) -> None:
    """Check what must hold after any fault: no request was lost, and no canary advanced without evidence."""
    journal = cluster.journal.read()
    assert cluster.lost == 0
    assert cluster.weights() == journal.desired_weights
    assert sum(journal.desired_weights.values()) == 100
    for transition in journal.transitions:
        if transition.to_state in {"step-2", "baking", "promoted"} and transition.release != A:
            by_shadow = transition.from_state == "step-1" and transition.evidence.get("shadow_requests", 0) >= 60
            assert transition.evidence["looked"] >= (6 if by_shadow else 60), "a shadow leaves a tenth of the first look to users"
        if transition.from_state == "shadow" and transition.to_state == "step-1":
            assert transition.evidence["shadow_requests"] >= cluster.settings.rollout.shadow_requests
    for one in cluster.predictors():
        if read_predictor_digest(one) in {journal.champion, journal.previous}:
            assert one["replicas"] >= 1


def refuse_as_a_missing_webhook(verb: str, plural: str, _name: str) -> None:
    """Refuse every write to a SeldonDeployment, as the API server does while the operator's webhook does not answer."""
    if verb in WRITES and plural == SELDON_DEPLOYMENT.plural:
        raise ServiceError("failed calling webhook")
