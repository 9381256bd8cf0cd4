"""An order is carried out once, an approval is used once, and no request cancels an order of an approver."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from simulated_cluster import APPROVER, NAME, REQUESTER, SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.decisions.states import KEPT_RELEASES, Approval, CommandKind
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT
from sluice.rollout.platforms.seldon.resources.rollout_approvals import read_approvals

A, B, C, OTHER = (f"sha256:{digit * 64}" for digit in "abcf")


@pytest.fixture
def cluster() -> SimulatedCluster:
    """A cluster in which A is champion, and B and C can be started."""
    found = SimulatedCluster(make_settings(margin=0.05, first_look=60, bake_seconds=5.0, deadline_seconds=900.0))
    found.make_champion(A, 1)
    found.now += 20
    for release in (B, C):
        found.servers[release] = SimulatedServer()
    return found


def order(cluster: SimulatedCluster, kind: str, name: str, **more: Any) -> None:
    """Write a command into the spec, as `kubectl edit` does."""
    command = {"id": name, "kind": kind, "by": APPROVER, **more}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": {"command": command}}, manager="kubectl")


def skip_evidence(cluster: SimulatedCluster, release: str, name: str) -> None:
    steps = tuple(cluster.settings.rollout.steps)
    approval = Approval(
        release=release,
        steps=steps,
        by=APPROVER,
        at=cluster.now,
        until=cluster.now + 3600,
        image=f"churn@{release}",
        id=name,
        note="an incident",
        skip_evidence=True,
    )
    cluster.api.user = APPROVER
    cluster.journal.update(lambda journal: dataclasses.replace(journal, approvals=(*journal.approvals, approval)))


def start(cluster: SimulatedCluster, control: Any, release: str, number: int) -> None:
    cluster.request(release, number)
    cluster.approve(release)
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")


@pytest.mark.parametrize("kind", ["abort", "rollback"])
def test_an_old_order_in_the_spec_is_not_repeated_after_a_promotion_by_an_approver(cluster: SimulatedCluster, kind: str) -> None:
    """The spec keeps its command, and a promotion is an approval. Both have ids."""
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    order(cluster, kind, "order-1")
    cluster.run(control, until=lambda journal: journal.request is None)
    start(cluster, control, C, 3)
    skip_evidence(cluster, C, "promotion-1")
    cluster.run(control, until=lambda journal: journal.champion == C or journal.request is None)
    assert cluster.journal.read().champion == C
    for _ in range(10):
        cluster.tick(control)
    assert cluster.journal.read().champion == C
    assert cluster.weights() == {C: 100}


def test_an_old_rollback_of_a_champion_is_not_repeated_after_a_promotion_by_a_person(cluster: SimulatedCluster) -> None:
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    cluster.run(control, until=lambda journal: journal.champion == B)
    cluster.command(CommandKind.ROLLBACK)
    cluster.run(control, until=lambda journal: journal.champion == A)
    start(cluster, control, C, 3)
    cluster.command(CommandKind.PROMOTE)
    cluster.run(control, until=lambda journal: journal.champion == C or journal.request is None)
    for _ in range(10):
        cluster.tick(control)
    assert cluster.journal.read().champion == C


def test_two_promotions_by_approvers_are_not_carried_out_in_turns(cluster: SimulatedCluster) -> None:
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    cluster.servers[B].ready_after = 1e9
    cluster.servers[B].unready_since = cluster.now  # so that both are refused
    for name in ("promotion-1", "promotion-2"):
        skip_evidence(cluster, B, name)
    for _ in range(12):
        cluster.tick(control)
    refused = [one.reason for one in cluster.journal.read().transitions if "promote by" in one.reason]
    assert len(refused) <= 2, refused


def test_an_abort_that_was_left_aside_for_a_rollback_does_not_come_back(cluster: SimulatedCluster) -> None:
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    cluster.run(control, until=lambda journal: journal.champion == B)
    cluster.servers[A].unready_since = cluster.now
    cluster.tick(control)
    order(cluster, "rollback", "order-1", target=A)
    cluster.tick(control)
    order(cluster, "abort", "order-2")
    cluster.tick(control)
    cluster.servers[A].unready_since = None
    cluster.run(control, until=lambda journal: journal.champion == A)
    start(cluster, control, C, 3)
    cluster.run(control, until=lambda journal: journal.champion == C or journal.request is None)
    assert cluster.journal.read().champion == C


@pytest.mark.parametrize("at_once", [False, True])
def test_a_request_waits_for_a_rollback_that_waits_for_its_server(cluster: SimulatedCluster, at_once: bool) -> None:
    """Otherwise a requester, or CI at night, would keep users on the release that an approver wants to leave."""
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    cluster.run(control, until=lambda journal: journal.champion == B)
    cluster.servers[A].unready_since = cluster.now
    cluster.tick(control)
    order(cluster, "rollback", "order-1", target=A)
    for _ in range(0 if at_once else 3):
        cluster.tick(control)
    spec = {"release": {"digest": C, "image": f"churn@{C}", "number": 3}, "steps": [5, 100], "requestedBy": REQUESTER}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": spec}, manager="kubectl")
    for _ in range(3):
        cluster.tick(control)
    assert cluster.journal.read().target is None
    cluster.servers[A].unready_since = None
    cluster.run(control, until=lambda journal: journal.champion == A)
    assert cluster.weights() == {A: 100}
    cluster.run(control, until=lambda journal: journal.target == C)


def test_a_rollback_to_a_release_that_is_not_n_1_any_more_ends_no_rollout(cluster: SimulatedCluster) -> None:
    control = cluster.controller("two")
    start(cluster, control, B, 2)
    cluster.run(control, until=lambda journal: journal.champion == B)
    start(cluster, control, C, 3)
    order(cluster, "rollback", "order-1", target=OTHER)
    for _ in range(3):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.target == C
    assert "neither the champion nor N-1" in journal.transitions[-1].reason


def test_a_release_cannot_take_the_name_of_the_champions_predictor(cluster: SimulatedCluster) -> None:
    """A name has the first eight digits of a digest, so the digest of a release that does not exist can fit."""
    control = cluster.controller("two")
    forged = A[: len("sha256:") + 8] + "b" * 56
    cluster.servers[forged] = SimulatedServer()
    spec = {"release": {"digest": forged, "image": f"churn@{forged}", "number": 1}, "steps": [5, 100], "requestedBy": REQUESTER}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": spec}, manager="kubectl")
    for _ in range(30):
        cluster.tick(control)
        assert cluster.journal.read().target is None
        assert [one["name"] for one in cluster.predictors()] == ["r1-aaaaaaaa"]
    status = cluster.api.get(MODEL_ROLLOUT, NAME)["status"]
    assert "is refused: its server would be called r1-aaaaaaaa" in status["message"]


def test_an_approval_is_not_valid_again_after_many_rollouts(cluster: SimulatedCluster) -> None:
    """`until` has no limit, and the journal has the last rollouts only."""
    control = cluster.controller("two")

    def use_up(release: str, number: int) -> None:
        cluster.servers[release] = SimulatedServer(ready_after=0.0)
        cluster.request(release, number)
        cluster.approve(release, seconds=1e9)
        cluster.tick(control)
        order(cluster, "abort", f"order-{number}")
        cluster.run(control, until=lambda journal: journal.request is None)

    use_up(B, 2)
    for number in range(KEPT_RELEASES + 1):
        use_up(f"sha256:{number + 1:064x}", 3 + number)
    journal = cluster.journal.read()
    assert B not in {one.release for one in journal.rollouts}
    # As after a hundred approvals, the journal does not have its id any more.
    forgot = dataclasses.replace(journal, used_approvals=())
    assert [one for one in read_approvals(cluster.api, NAME, forgot) if one.release == B] == []
