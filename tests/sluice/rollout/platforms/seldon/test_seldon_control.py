"""The controller in the simulated cluster: how rollouts go, what holds them up, and who acts."""

from __future__ import annotations

import pytest
from seldon_canaries import QUICK, A, B, check_invariants, ended, make_cluster, refuse_as_a_missing_webhook
from simulated_cluster import APPROVER, NAME, SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, ROLLOUT_APPROVAL
from sluice.rollout.platforms.seldon.cluster_snapshots import read_cluster_snapshot
from sluice.rollout.platforms.seldon.objects.predictors import read_predictor_digest
from sluice.rollout.platforms.seldon.resources.tenures import SupersededError

JUMP = QUICK["deadline_seconds"] + 100.0
"""Seconds by which a clock jumps: more than any time that the controller measures."""


@pytest.fixture
def cluster() -> SimulatedCluster:
    """A cluster in which A is champion and a rollout of B is requested."""
    return make_cluster()


def test_a_first_release_gets_no_replicas_and_no_traffic_before_it_is_approved() -> None:
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.servers[A] = SimulatedServer()
    cluster.request(A, 1)
    control = cluster.controller()
    for _ in range(60):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.phase is Phase.AWAITING_APPROVAL
    assert [one["replicas"] for one in cluster.predictors()] == [0]
    assert cluster.weights() == {}
    cluster.approve(A)
    cluster.run(control, until=lambda journal: journal.champion == A)
    assert cluster.weights() == {A: 100}
    assert [one["replicas"] for one in cluster.predictors()] == [1]


def test_a_first_release_that_is_aborted_is_replaced_by_another() -> None:
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.servers[A] = SimulatedServer()
    cluster.request(A, 1)
    control = cluster.controller()
    cluster.tick(control)
    cluster.command(CommandKind.ABORT)
    cluster.run(control, until=ended)
    for _ in range(3):
        cluster.tick(control)
    assert [one["replicas"] for one in cluster.predictors()] == [0], "the operator refuses a SeldonDeployment without predictors"
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.champion == B)
    assert [read_predictor_digest(one) for one in cluster.predictors()] == [B]


def test_an_operator_without_istio_is_distinguished_from_a_slow_one() -> None:
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.operator_works = False
    cluster.servers[A] = SimulatedServer()
    cluster.request(A, 1)
    cluster.approve(A)
    control = cluster.controller()
    cluster.tick(control)
    assert not control.platform.status["trouble"]
    for _ in range(60):
        cluster.tick(control)
    assert "ISTIO_ENABLED" in control.platform.status["trouble"]
    assert cluster.journal.read().champion is None


def test_a_good_canary_is_promoted_and_the_release_before_keeps_its_server(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    control = cluster.controller()
    journal = cluster.run(control, until=ended)
    assert (journal.champion, journal.previous) == (B, A)
    assert [line.to_state for line in journal.transitions][-4:] == ["step-1", "step-2", "baking", "promoted"]
    assert all(line.applied_at is not None for line in journal.transitions[1:])
    for _ in range(60):
        cluster.tick(control)
    assert [read_predictor_digest(one) for one in cluster.predictors()] == [A, B], "predictors are appended and never reordered"
    check_invariants(cluster)


def test_without_an_approval_the_canary_gets_no_traffic_and_is_rejected_at_the_deadline(cluster: SimulatedCluster) -> None:
    control = cluster.controller()
    journal = cluster.run(control, until=ended, max_rounds=1000)
    assert journal.rollouts[-1].outcome is Phase.REJECTED
    assert "no approval is valid" in journal.rollouts[-1].reason
    assert B not in cluster.counts


def test_a_canary_whose_approval_expires_stays_at_its_step(cluster: SimulatedCluster) -> None:
    cluster.approve(B, seconds=50.0)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.phase.exposed)
    for _ in range(60):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.phase is Phase.STEP
    assert cluster.weights()[B] < 100
    cluster.approve(B)
    assert cluster.run(control, until=ended).champion == B


def test_an_approval_is_valid_for_one_rollout(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.phase.exposed)
    cluster.command(CommandKind.ABORT)
    cluster.run(control, until=ended)
    cluster.request(B, 2)
    for _ in range(60):
        cluster.tick(control)
    assert cluster.journal.read().state.phase is Phase.AWAITING_APPROVAL
    assert len([key for key in cluster.api.objects if key[0] == ROLLOUT_APPROVAL.plural]) == 2


def test_a_broken_canary_is_rolled_back_and_removed_after_its_last_requests() -> None:
    cluster = make_cluster(SimulatedServer(error_rate=0.3))
    cluster.approve(B)
    control = cluster.controller()
    journal = cluster.run(control, until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert cluster.weights() == {A: 100}
    assert [read_predictor_digest(one) for one in cluster.predictors()] == [A, B], "it still answers its last requests"
    for _ in range(40):
        cluster.tick(control)
    assert [read_predictor_digest(one) for one in cluster.predictors()] == [A]
    check_invariants(cluster)


def test_a_slow_canary_is_rolled_back() -> None:
    cluster = make_cluster(SimulatedServer(slow_rate=0.2))
    cluster.approve(B)
    journal = cluster.run(cluster.controller(), until=ended)
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert "slow " in journal.rollouts[-1].reason


def test_a_shared_incident_pauses_the_rollout_and_rolls_nothing_back(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    cluster.shared_error_rate = 0.3
    for _ in range(120):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.name in {"step-1", "step-2"}, "the incident may become certain only after the first step"
    assert control.platform.status["reason"].startswith("paused, because stable itself has an incident")
    cluster.shared_error_rate = None
    assert cluster.run(control, until=ended).champion == B


@pytest.mark.parametrize("state", ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking"])
def test_a_canary_that_crash_loops_ends_its_rollout_in_every_state(cluster: SimulatedCluster, state: str) -> None:
    control = cluster.controller()
    if state not in {"awaiting_ready", "awaiting_approval"}:
        cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.state.name == state)
    cluster.servers[B].broken = "CrashLoopBackOff"
    sent_before = cluster.lost
    journal = cluster.run(control, until=ended)
    assert journal.champion == A
    assert cluster.weights() == {A: 100}, "the operator writes no weights while a Deployment is not ready"
    assert cluster.lost - sent_before <= 300, "these requests came in the one or two seconds until the controller saw the crash"
    assert not [line for line in cluster.lines if "problem" in line]


def test_a_rollback_does_not_wait_until_stable_has_been_scaled() -> None:
    cluster = make_cluster(SimulatedServer(error_rate=0.3))
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    cluster.operator_works = False
    assert cluster.run(control, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    assert cluster.weights() == {A: 100}


def test_a_rollback_does_not_wait_for_the_operator_s_webhook() -> None:
    """Without the operator's webhook, the API server refuses every write to a SeldonDeployment, even of an annotation."""
    cluster = make_cluster(SimulatedServer(error_rate=0.3))
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    cluster.operator_works = False

    cluster.api.before = refuse_as_a_missing_webhook
    for _ in range(60):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}
    cluster.api.before = lambda *_: None
    cluster.operator_works = True
    assert cluster.run(control, until=ended).rollouts[-1].outcome is Phase.ROLLED_BACK
    check_invariants(cluster)


def test_a_command_rolls_the_champion_back_to_n_minus_1(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=ended)
    cluster.command(CommandKind.ROLLBACK)
    journal = cluster.run(control, until=lambda journal: journal.champion == A)
    assert cluster.weights() == {A: 100}
    assert journal.transitions[-1].commanded_by == APPROVER
    check_invariants(cluster)


def test_without_traffic_no_canary_is_promoted(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    cluster.rate = 0.0
    journal = cluster.run(cluster.controller(), until=ended)
    assert journal.champion == A
    assert "deadline" in journal.rollouts[-1].reason


@pytest.mark.parametrize("state", ["step-1", "step-2", "baking"])
def test_without_metrics_the_rollout_waits_and_continues_when_they_are_back(cluster: SimulatedCluster, state: str) -> None:
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.name == state)
    cluster.metrics_work = False
    for _ in range(100):
        cluster.tick(control)
    assert cluster.journal.read().state.name == state
    assert "metrics" in control.platform.status["trouble"]
    cluster.metrics_work = True
    assert cluster.run(control, until=ended).champion == B
    check_invariants(cluster)


@pytest.mark.parametrize("seconds", [-JUMP, JUMP])
@pytest.mark.parametrize("state", ["awaiting_approval", "step-1", "baking"])
def test_a_clock_that_jumps_promotes_no_canary_without_evidence(cluster: SimulatedCluster, state: str, seconds: float) -> None:
    control = cluster.controller()
    if state != "awaiting_approval":
        cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.state.name == state)
    cluster.clock_offset = seconds
    if state == "awaiting_approval" and seconds < 0:
        cluster.now += JUMP
    if state == "awaiting_approval":
        cluster.approve(B)
    journal = cluster.run(control, until=ended)
    assert journal.champion in {A, B}
    check_invariants(cluster)


def test_of_two_controllers_only_one_acts(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    first, second = cluster.controller("first"), cluster.controller("second")
    acted = [0, 0]
    for _ in range(400):
        acted[0] += cluster.tick(first)
        acted[1] += cluster.tick(second)
        if ended(cluster.journal.read()):
            break
    assert cluster.journal.read().champion == B
    assert min(acted) == 0
    check_invariants(cluster)


def test_a_controller_that_was_paused_writes_nothing_over_its_successor(cluster: SimulatedCluster) -> None:
    cluster.approve(B)
    old = cluster.controller("old")
    cluster.run(old, until=lambda journal: journal.state.name == "step-1")
    earlier = read_cluster_snapshot(cluster.api, NAME, cluster.api.get(MODEL_ROLLOUT, NAME))
    new = cluster.controller("new")
    for _ in range(30):
        cluster.tick(new)
    assert new.platform.lock.epoch > old.platform.lock.epoch
    stale = old.platform.journal.read()
    with pytest.raises(ConflictError):
        old.platform.journal.write(stale, earlier.rollout, epoch=old.platform.lock.epoch)
    found = read_cluster_snapshot(cluster.api, NAME, cluster.api.get(MODEL_ROLLOUT, NAME))
    with pytest.raises(SupersededError):
        old.platform.tenure.refuse_superseded(found.deployment, found.service, rollout=found.rollout)
    old.platform.lock.epoch, old.platform.lock._renewed = 2, cluster.now  # it still believes that it holds the lease
    assert cluster.run(new, until=ended).champion == B
