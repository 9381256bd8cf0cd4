"""Requests, approvals and commands in a cluster, by pipeline steps and the command line, through the API server only."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from memory_api import MemoryApi
from simulated_cluster import SimulatedCluster, SimulatedServer, make_settings

from sluice.errors import NotServingError, RefusedError, ServiceError, StateError
from sluice.project.projects import Project
from sluice.rollout.decisions.states import CommandKind
from sluice.rollout.platforms.seldon import journal_annotations
from sluice.rollout.platforms.seldon.api import CONFIG_MAP, LEASE, SELDON_DEPLOYMENT
from sluice.rollout.platforms.seldon.leases import STATUS_ANNOTATION
from sluice.rollout.platforms.seldon.request_annotations import COMMAND_ANNOTATION, JOURNAL_ANNOTATION, REQUEST_ANNOTATION
from sluice.rollout.requests import approvals, commands, histories, outcomes, published_releases, starts, statuses
from sluice.rollout.requests.release_references import find_release
from sluice.steps import production

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.rollout.round import ControlLoop

A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SimulatedCluster:
    """A cluster in which A is champion, and the lease counts as held by the real clock."""
    cluster = SimulatedCluster(make_settings(margin=0.05, first_look=60, bake_seconds=1.0), now=time.time() - 100)
    cluster.make_champion(A, 1)
    lease = cluster.api.objects[LEASE.plural, "churn-rollout"]
    lease["spec"]["renewTime"] = "2100-01-01T00:00:00.000000Z"
    monkeypatch.setattr(journal_annotations, "connect", lambda _namespace: cluster.api)
    monkeypatch.setattr(journal_annotations.SeldonJournal, "poll_seconds", 0.01)
    for module in (published_releases, starts):
        monkeypatch.setattr(module, "publish_release", lambda _project, digest: (2, f"churn@{digest}"))
    for module in (approvals, starts):
        monkeypatch.setattr(module, "check_gate", lambda _project, _digest: None)
    return cluster


@pytest.fixture
def project(tmp_path: Path, cluster: SimulatedCluster) -> Project:
    return Project(tmp_path, cluster.settings)


def test_a_request_names_the_image_and_an_approval_is_a_separate_object(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    assert approvals.find_approval(project, B) is None
    approvals.approve(project, B, by="eve", note="looks good")
    journal = cluster.journal.read()
    assert (journal.request.number, journal.request.image) == (2, f"churn@{B}")  # type: ignore[union-attr]
    assert approvals.find_approval(project, B).by == "eve"  # type: ignore[union-attr]
    written = [found for (plural, _), found in cluster.api.objects.items() if plural == CONFIG_MAP.plural]
    assert all(one["immutable"] for one in written)
    assert written[-1]["data"]["recorded_by"] == MemoryApi.user


def test_a_repeated_request_changes_nothing(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    version = cluster.journal.read().version
    starts.request_rollout(project, B, by="ann")
    assert cluster.journal.read().version == version


def test_a_second_rollout_is_refused_while_one_is_running(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    with pytest.raises(StateError, match="is running"):
        starts.request_rollout(project, f"sha256:{'c' * 64}", by="ann")


def test_releases_are_found_in_the_journal_without_the_release_store(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    assert find_release(project, "2").digest == B
    assert find_release(project, "champion").digest == A
    with pytest.raises(StateError):
        find_release(project, "3")


def test_a_request_is_refused_while_no_controller_holds_the_lease(project: Project, cluster: SimulatedCluster) -> None:
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    with pytest.raises(NotServingError, match="controller"):
        starts.request_rollout(project, B, by="ann")
    assert statuses.read_status(project).supervised is False


def test_waiting_for_an_outcome_survives_an_api_server_that_does_not_answer(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
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


def test_a_command_appears_in_the_journal(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    assert commands.abort(project, by="bob") == B
    command = cluster.journal.read().command
    assert command is not None
    assert (command.kind, command.by) == (CommandKind.ABORT, "bob")


def test_a_process_that_is_not_the_controller_does_not_write_the_journal(project: Project, cluster: SimulatedCluster) -> None:
    """An account without the controller's rights needs to write requests, commands and approvals only."""
    before = journal_text(cluster)
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    commands.abort(project, by="bob")
    assert journal_text(cluster) == before
    with pytest.raises(ValueError, match="not the controller may change nothing but the request and the command"):
        cluster.journal.update(lambda journal: dataclasses.replace(journal, history=()))


def journal_text(cluster: SimulatedCluster) -> str:
    return cluster.api.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"][JOURNAL_ANNOTATION]


def test_a_request_that_was_carried_out_is_not_started_again(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
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


@pytest.mark.parametrize("change", [{"immutable": False}, {"recorded_by": ""}, {"recorded_by": "the-controller"}])
def test_an_approval_that_can_be_changed_or_that_the_controller_gave_is_ignored(
    project: Project, cluster: SimulatedCluster, change: dict[str, object]
) -> None:
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    reader = cluster.journal
    reader.account = "the-controller"
    assert [one.release for one in reader.read().approvals] == [B]
    written = next(found for (plural, _), found in reversed(cluster.api.objects.items()) if plural == CONFIG_MAP.plural)
    written["immutable"] = change.get("immutable", True)
    written["data"]["recorded_by"] = change.get("recorded_by", "ann")
    assert reader.read().approvals == ()


def test_an_approval_with_the_controller_s_account_is_refused(project: Project, cluster: SimulatedCluster) -> None:
    starts.request_rollout(project, B, by="ann")
    lease = cluster.api.objects[LEASE.plural, "churn-rollout"]
    lease["metadata"]["annotations"] = {STATUS_ANNOTATION: json.dumps({"account": MemoryApi.user})}
    with pytest.raises(RefusedError, match="may not approve"):
        approvals.approve(project, B, by="ann")


def test_an_approval_is_valid_for_one_image(project: Project, cluster: SimulatedCluster) -> None:
    """A request that names the approved release with another image is not approved."""
    starts.request_rollout(project, B, by="ann")
    approvals.approve(project, B, by="ann")
    assert approvals.find_approval(project, B)
    annotations = cluster.api.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"]
    annotations[REQUEST_ANNOTATION] = annotations[REQUEST_ANNOTATION].replace("churn@", "evil@")
    assert approvals.find_approval(project, B) is None


def test_an_annotation_that_cannot_be_read_is_ignored(project: Project, cluster: SimulatedCluster) -> None:
    before = cluster.journal.read()
    annotations = cluster.api.objects[SELDON_DEPLOYMENT.plural, "churn"]["metadata"]["annotations"]
    annotations[REQUEST_ANNOTATION], annotations[COMMAND_ANNOTATION] = "{", '{"kind": "conquer"}'
    assert cluster.journal.read() == before


@contextmanager
def acting(cluster: SimulatedCluster, control: ControlLoop) -> Iterator[None]:
    """Run the controller's rounds in another thread."""
    stop = threading.Event()

    def act() -> None:
        while not stop.wait(0.01):
            cluster.tick(control)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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
    control = cluster.controller("two")
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
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
    control = cluster.controller("two")
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.champion == B)
    cluster.servers[A].broken = "ImagePullBackOff"
    cluster._run_pods()
    with acting(cluster, control), pytest.raises(StateError, match="N-1's server failed: ImagePullBackOff"):
        commands.rollback(project, by="kim")
    assert cluster.journal.read().command is None


def test_planning_an_approval_pushes_no_image(
    project: Project, cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push(_project: Project, _digest: str) -> tuple[int, str]:
        raise AssertionError("planning must not push an image")

    monkeypatch.setattr(published_releases, "publish_release", push)
    assert approvals.plan_approval(project, B, by="eve").image == ""


def test_a_canary_step_that_may_not_approve_says_so_and_waits_for_a_person(
    project: Project, cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step requests the rollout and is refused the approval. It ends well after a person has approved."""
    control = cluster.controller("two")
    cluster.servers[B] = SimulatedServer()
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=2), attach=lambda *_: None)
    monkeypatch.setattr(production, "open_releases", lambda _project: store)
    monkeypatch.setattr(production, "read_project", lambda: project)
    monkeypatch.setattr(production, "SECONDS_RECORDED_AFTER_END", 0.0)

    def refuse(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("create", CONFIG_MAP.plural):
            raise ServiceError("the API server refused POST configmaps: this account must not approve")

    said: list[str] = []

    def wait(_project: Project, release: str, *, timeout: float) -> str:
        """Look at what the step has said when it begins to wait, and approve as a person."""
        del timeout
        said.append(capsys.readouterr().err)
        assert approvals.find_approval(project, release) is None
        cluster.api.before = lambda *_: None
        approvals.approve(project, release, by="eve")
        cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
        with acting(cluster, control):
            return wait_for_outcome(project, release, timeout=60)

    cluster.api.before = refuse
    wait_for_outcome = outcomes.wait_for_outcome
    monkeypatch.setattr(outcomes, "wait_for_outcome", wait)
    assert production.run_canary(B, by="ann") == "promoted"
    assert "release 2 waits for `sluice rollout approve 2`, until 3600 s after the request" in said[0]
    assert "ann approved it in the pipeline" in said[0]
    assert "must not approve" in said[0]
    assert cluster.journal.read().champion == B
