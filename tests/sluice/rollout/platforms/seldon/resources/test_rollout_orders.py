"""Promotions, rollbacks and waiting for the end of a rollout in a cluster, through the API server only."""

from __future__ import annotations

import dataclasses
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from asking import acting, approve, request, run_canary
from simulated_cluster import APPROVER, NAME, REQUESTER, SimulatedCluster, SimulatedServer

from sluice.errors import RefusedError, ServiceError, StateError
from sluice.rollout.decisions.states import CommandKind
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT
from sluice.rollout.requests import approvals, commands, histories, outcomes
from sluice.steps import production

if TYPE_CHECKING:
    from sluice.project.projects import Project

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def test_a_promotion_without_evidence_is_an_approval_with_a_reason(project: Project, cluster: SimulatedCluster) -> None:
    """The requester's account cannot write one. A spec has no command for it."""
    control = run_canary(cluster, until=lambda journal: journal.state.name == "step-1")
    cluster.api.user = REQUESTER
    with pytest.raises(RefusedError, match="nobody approves their own request"):
        commands.promote(project, B, by="bob", why="no time")
    cluster.api.user = APPROVER
    commands.promote(project, B, by="bob", why="the old one is on fire")
    cluster.tick(control)
    journal = cluster.journal.read()
    assert (journal.state.name, journal.transitions[-1].commanded_by) == ("baking", APPROVER)
    assert "the old one is on fire" in journal.transitions[-1].reason
    for _ in range(3):
        cluster.tick(control)
    assert sum("on fire" in one.reason for one in cluster.journal.read().transitions) == 1


def test_an_approval_that_has_expired_promotes_nothing(cluster: SimulatedCluster) -> None:
    control = run_canary(cluster, until=lambda journal: journal.state.name == "step-1")
    approval = dataclasses.replace(
        cluster.journal.read().approvals[-1], id="expired", until=cluster.now, skip_evidence=True, note="too late"
    )
    cluster.api.user = APPROVER
    cluster.journal.update(lambda journal: dataclasses.replace(journal, approvals=(*journal.approvals, approval)))
    assert [one.skip_evidence for one in cluster.journal.read().approvals] == [False, True]
    cluster.tick(control)
    assert cluster.journal.read().state.name == "step-1"


def test_a_promote_command_in_a_spec_is_ignored(project: Project, cluster: SimulatedCluster) -> None:
    server = SimulatedServer(error_rate=0.02)
    control = run_canary(cluster, server, until=lambda journal: journal.state.name == "step-1")
    command = {"id": "1", "kind": "promote", "by": "whoever I say"}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": {"command": command}}, manager="requester")
    for _ in range(3):
        cluster.tick(control)
    assert cluster.journal.read().weights == {A: 95, B: 5}


def test_the_status_names_a_command_of_the_spec_when_the_controller_has_read_it(cluster: SimulatedCluster) -> None:
    """A policy lets a requester replace a rollback only after that."""
    control = run_canary(cluster, until=lambda journal: journal.state.name == "step-1")

    def last() -> object:
        return cluster.api.get(MODEL_ROLLOUT, NAME)["status"].get("lastCommandID")

    command = {"id": "order-1", "kind": "rollback", "by": APPROVER}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": {"command": command}}, manager="approver")
    assert last() is None
    for _ in range(3):
        cluster.tick(control)
    assert last() == "order-1"
    assert cluster.journal.read().state.name == "rolled_back"


def test_waiting_for_an_outcome_survives_an_api_server_that_does_not_answer(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    approve(project, cluster)
    cluster.servers[B] = SimulatedServer()
    failures = iter([True] * 40)
    mine = threading.get_ident()

    def away(_verb: str, _plural: str, _name: str) -> None:
        if threading.get_ident() == mine and next(failures, False):
            raise ServiceError("the API server does not answer")

    stop = threading.Event()

    def act() -> None:
        cluster.now += 20
        control = cluster.controller("two")
        control.platform.lock._observed_at = -1e9
        lease = cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]
        lease["holderIdentity"] = ""
        while not stop.wait(0.001):  # so that the waiting thread can run, too
            cluster.tick(control)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        cluster.api.before = away
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "promoted"
    finally:
        stop.set()
        thread.join()
    assert next(failures, None) is None, "it met all failures"
    record = histories.read_rollout(project, B)
    assert record["outcome"] == "promoted"
    assert record["samples"] == []


def test_a_request_that_was_carried_out_is_not_started_again(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    commands.abort(project, by="bob")
    cluster.now += 20
    control = cluster.controller("two")
    cluster.run(control, until=lambda journal: journal.request is None)
    for _ in range(30):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.request is None
    assert journal.command is None
    assert [one.outcome.value for one in journal.rollouts] == ["promoted", "aborted"]


def test_a_rollback_that_the_evidence_already_carried_out_leaves_the_champion(
    project: Project, cluster: SimulatedCluster
) -> None:
    """The canary C is rolled back before the person confirms the rollback to B. B stays champion, although A is N-1."""
    c = f"sha256:{'c' * 64}"
    control = cluster.controller("two")
    lease = cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]
    lease["holderIdentity"] = ""

    def roll_out(release: str, number: int) -> None:
        cluster.servers[release] = SimulatedServer()
        cluster.request(release, number)
        cluster.approve(release)

    roll_out(B, 2)
    cluster.run(control, until=lambda journal: journal.champion == B)
    roll_out(c, 3)
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    confirmed, _ = commands.check_rollback(project)
    cluster.servers[c].error_rate = 1.0
    cluster.run(control, until=lambda journal: journal.request is None)
    with acting(cluster, control):
        done = commands.rollback(project, by="kim", to=confirmed)
    assert (done["to"], done["left"]) == (B, "")
    assert cluster.journal.read().champion == B
    assert cluster.weights() == {B: 100}


def test_two_rollbacks_after_an_abort_both_succeed_and_move_nothing(project: Project, cluster: SimulatedCluster) -> None:
    control = run_canary(cluster, until=lambda journal: journal.state.name == "step-1")
    cluster.now = max(cluster.now, time.time())
    cluster.tick(control)
    confirmed, _ = commands.check_rollback(project)
    cluster.command(CommandKind.ABORT)
    cluster.run(control, until=lambda journal: journal.request is None)
    done = []

    def roll_back(by: str) -> None:
        done.append(commands.rollback(project, by=by, to=confirmed))

    people = [threading.Thread(target=roll_back, args=(name,)) for name in ("kim", "lee")]
    for thread in people:
        thread.start()
    time.sleep(0.2)
    with acting(cluster, control):
        for thread in people:
            thread.join(20)
    assert [one["to"] for one in done] == [A, A]


def test_a_rollback_to_a_release_whose_server_failed_is_refused(project: Project, cluster: SimulatedCluster) -> None:
    control = run_canary(cluster, until=lambda journal: journal.champion == B)
    cluster.servers[A].broken = "ImagePullBackOff"
    cluster._run_pods()
    with acting(cluster, control), pytest.raises(StateError, match="N-1's server failed: ImagePullBackOff"):
        commands.rollback(project, by="kim")
    assert cluster.journal.read().command is None


def test_a_canary_step_waits_for_a_person_because_it_requests_the_rollout(
    project: Project, cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Argo a person has resumed the pipeline. The step's account requests the rollout, so it cannot approve it as well."""
    control = cluster.controller("two")
    cluster.servers[B] = SimulatedServer()
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=2), attach=lambda *_: None)
    monkeypatch.setattr(production, "open_releases", lambda _project: store)
    monkeypatch.setattr(production, "read_project", lambda: project)
    monkeypatch.setattr(production, "SECONDS_RECORDED_AFTER_END", 0.0)
    said: list[str] = []

    def wait(_project: Project, release: str, *, timeout: float) -> str:
        """Look at what the step has said when it begins to wait, and approve as a person."""
        del timeout
        said.append(capsys.readouterr().err)
        assert approvals.find_approval(project, release) is None
        approve(project, cluster)
        cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
        with acting(cluster, control):
            return wait_for_outcome(project, release, timeout=60)

    wait_for_outcome = outcomes.wait_for_outcome
    monkeypatch.setattr(outcomes, "wait_for_outcome", wait)
    cluster.api.user = REQUESTER
    assert production.run_canary(B, by="ann") == "promoted"
    assert "release 2 waits for `sluice rollout approve 2`, until 3600 s after the request" in said[0]
    assert cluster.journal.read().champion == B
