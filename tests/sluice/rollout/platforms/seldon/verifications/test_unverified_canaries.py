"""The controller in the simulated cluster, when somebody requests a rollout of a release that does not verify."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from release_project import InlineThreads, Signer
from seldon_canaries import QUICK, A, B, C, check_invariants, ended, make_cluster
from simulated_cluster import NAME, SimulatedCluster, SimulatedServer, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.objects.predictors import (
    PackagedRelease,
    build_deployment,
    build_predictor,
    build_spec,
    read_predictor_digest,
)
from sluice.rollout.verifications import ReleaseVerifier

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.release.trust_rules import ReleaseDocuments
    from sluice.rollout.decisions.states import Request, Transition
    from sluice.rollout.round import ControlLoop

FORGED = {"promote": True, "reason": "forged"}


class Registry:
    """What the registry has about each release, and whether it answers."""

    def __init__(self, signer: Signer) -> None:
        self.signer, self.answers, self.reads = signer, True, 0
        self.forged: set[str] = set()

    def read(self, request: Request) -> ReleaseDocuments:
        self.reads += 1
        if not self.answers:
            raise ServiceError("the registry registry.example.com does not answer")
        gate = FORGED if request.release in self.forged else None
        return self.signer.documents(request.release, request.release, gate=gate)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(Signer(tmp_path, "churn", monkeypatch))


def control_with_keys(cluster: SimulatedCluster, registry: Registry, holder: str = "two") -> ControlLoop:
    control = cluster.controller(holder)
    platform: Any = control.platform
    verifier = ReleaseVerifier(registry.signer.keys, "churn", registry.read, clock=cluster.clock, threads=InlineThreads())
    platform.verify = verifier.verify
    return control


def served(cluster: SimulatedCluster) -> set[str]:
    """Return the releases whose predictors have replicas."""
    return {read_predictor_digest(one) for one in cluster.predictors() if one["replicas"]}


def test_a_forged_release_gets_no_server_and_no_traffic_and_is_rejected_with_the_reason(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    registry.forged.add(B)
    control = control_with_keys(cluster, registry)
    published: list[Transition] = []
    platform: Any = control.platform
    platform.record = published.append
    while cluster.journal.read().request is not None:
        cluster.tick(control)
        assert served(cluster) == {A}
        assert cluster.weights() == {A: 100}
    for _ in range(40):
        cluster.tick(control)
        assert (served(cluster), cluster.weights()) == ({A}, {A: 100})
    journal = cluster.journal.read()
    reason = "the release is refused: its manifest contains no signed decision of the gate"
    assert (journal.rollouts[-1].outcome, journal.rollouts[-1].reason) == (Phase.REJECTED, reason)
    assert published[-1].reason == reason
    assert any(reason in line for line in cluster.lines)
    assert journal.condemned == ()
    check_invariants(cluster)


def test_a_forged_first_release_never_gets_replicas(registry: Registry) -> None:
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.servers[A] = SimulatedServer()
    registry.forged.add(A)
    control = control_with_keys(cluster, registry)
    cluster.request(A, 1)
    cluster.approve(A)
    for _ in range(40):
        cluster.tick(control)
        assert (served(cluster), cluster.weights()) == (set(), {})
    assert cluster.journal.read().state.phase is Phase.REJECTED


@pytest.mark.parametrize("answers", [True, False])
def test_a_predictor_that_a_requester_prepared_for_an_unverified_release_is_taken_away(registry: Registry, answers: bool) -> None:
    registry.answers = answers
    registry.forged.add(B)
    first, beside = SimulatedCluster(make_settings(**QUICK)), make_cluster(approved=True)
    for cluster, number in ((first, 1), (beside, 2)):
        cluster.servers[B] = SimulatedServer(ready_after=0.0)
        predictor = build_predictor(PackagedRelease(B, number, f"churn@{B}"), cluster.settings, replicas=1)
        if cluster is first:
            body = build_deployment(cluster.settings, build_spec(cluster.settings), [predictor])
            cluster.api.create(SELDON_DEPLOYMENT, body, manager="requester")
            cluster.request(B, 1)
            cluster.approve(B)
        else:
            cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]["predictors"].append(predictor)
        control = control_with_keys(cluster, registry)
        for _ in range(20):
            cluster.tick(control)
        assert B not in served(cluster)
        assert B not in cluster.weights()


def test_a_forged_release_never_reaches_the_shadow(registry: Registry) -> None:
    cluster = make_cluster(approved=True, shadow_requests=60)
    registry.forged.add(B)
    control = control_with_keys(cluster, registry)
    cluster.poll = None  # type: ignore[assignment, method-assign]
    cluster.run(control, until=ended)
    assert cluster.journal.read().state.phase is Phase.REJECTED


def test_a_signed_release_is_read_once_and_promoted(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    control = control_with_keys(cluster, registry)
    cluster.run(control, until=lambda journal: journal.champion == B)
    assert registry.reads == 1
    check_invariants(cluster)


def test_while_the_registry_does_not_answer_the_rollout_waits_and_says_so(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    registry.answers = False
    control = control_with_keys(cluster, registry)
    for _ in range(60):
        cluster.tick(control)
        assert (served(cluster), cluster.weights()) == ({A}, {A: 100})
    assert cluster.journal.read().state.phase is Phase.AWAITING_READY
    platform: Any = control.platform
    reason = "the signatures of the release cannot be read: the registry registry.example.com does not answer"
    assert platform.status["reason"] == reason
    assert next(one["waiting"] for one in platform.status["servers"] if one["release"] == B) == reason
    assert 1 < registry.reads <= 12, "it is asked again, at most every five seconds"
    registry.answers = True
    cluster.run(control, until=lambda journal: journal.champion == B)
    check_invariants(cluster)


def test_a_rollback_to_n_minus_1_does_not_wait_for_the_registry(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    control = control_with_keys(cluster, registry)
    cluster.run(control, until=lambda journal: journal.champion == B)
    registry.answers = False
    cluster.servers[C] = SimulatedServer()
    cluster.request(C, 3)
    for _ in range(3):
        cluster.tick(control)
    assert cluster.journal.read().target == C
    cluster.command(CommandKind.ROLLBACK)
    for _ in range(3):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}


def test_a_rollout_of_n_minus_1_keeps_its_server_while_the_registry_does_not_answer(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    control = control_with_keys(cluster, registry)
    cluster.run(control, until=lambda journal: journal.champion == B)
    registry.answers = False
    cluster.request(A, 1)
    for _ in range(40):
        cluster.tick(control)
        assert served(cluster) == {A, B}
    cluster.command(CommandKind.ROLLBACK)
    for _ in range(3):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}


def test_a_new_controller_keeps_a_canary_at_its_step_until_the_registry_answers(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    first = control_with_keys(cluster, registry)
    cluster.run(first, until=lambda journal: journal.state.phase is Phase.STEP)
    weights = cluster.weights()
    registry.answers = False
    cluster.now += 20
    second = control_with_keys(cluster, registry, "three")
    for _ in range(60):
        cluster.tick(second)
        assert (served(cluster), cluster.weights()) == ({A, B}, weights)
    registry.answers = True
    cluster.run(second, until=lambda journal: journal.champion == B)
    check_invariants(cluster)


def test_a_new_controller_with_other_keys_takes_the_traffic_from_a_canary_that_they_did_not_sign(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(approved=True)
    cluster.run(control_with_keys(cluster, registry), until=lambda journal: journal.state.phase is Phase.STEP)
    cluster.now += 20
    (tmp_path / "other").mkdir()
    other = Signer(tmp_path / "other", "churn", monkeypatch)
    second = cluster.controller("three")
    platform: Any = second.platform
    platform.verify = ReleaseVerifier(other.keys, "churn", registry.read, clock=cluster.clock, threads=InlineThreads()).verify
    journal = cluster.run(second, until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert cluster.weights() == {A: 100}


def test_an_image_with_another_layer_than_the_requested_one_is_refused(registry: Registry) -> None:
    cluster = make_cluster(approved=True)
    honest = registry.read
    registry.read = lambda request: dataclasses.replace(honest(request), release=C)  # type: ignore[method-assign]
    journal = cluster.run(control_with_keys(cluster, registry), until=ended)
    assert journal.rollouts[-1].reason.startswith("the release is refused: its image contains the model layer")
