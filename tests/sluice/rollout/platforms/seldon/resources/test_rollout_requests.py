"""Requests, approvals and commands in a cluster, by pipeline steps and the command line, through the API server only."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from asking import approve, request
from simulated_cluster import APPROVER, NAME, REQUESTER, SimulatedCluster

from sluice.errors import NotServingError, RefusedError, StateError
from sluice.rollout.decisions.states import CommandKind
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT, ROLLOUT_APPROVAL
from sluice.rollout.platforms.seldon.leases.lease_locks import STATUS_ANNOTATION
from sluice.rollout.requests import approvals, commands, published_releases, statuses
from sluice.rollout.requests.release_references import find_release

if TYPE_CHECKING:
    from sluice.project.projects import Project

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def test_a_request_names_the_image_and_an_approval_is_a_separate_object(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    assert approvals.find_approval(project, B) is None
    approve(project, cluster, note="looks good")
    journal = cluster.journal.read()
    assert (journal.request.number, journal.request.image) == (2, f"churn@{B}")  # type: ignore[union-attr]
    assert approvals.find_approval(project, B).by == APPROVER  # type: ignore[union-attr]
    written = [found for (plural, _), found in cluster.api.objects.items() if plural == ROLLOUT_APPROVAL.plural]
    assert (written[-1]["spec"]["approvedBy"], written[-1]["spec"]["note"]) == (APPROVER, "looks good")


def test_nobody_approves_their_own_request(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    with pytest.raises(RefusedError, match=f"{REQUESTER} requested this rollout"):
        approvals.approve(project, B, by="somebody else")


def test_an_approval_of_their_own_request_that_somebody_wrote_is_ignored(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    approve(project, cluster)
    written = next(found for (plural, _), found in reversed(cluster.api.objects.items()) if plural == ROLLOUT_APPROVAL.plural)
    written["spec"]["approvedBy"] = REQUESTER
    assert cluster.journal.read().approvals == ()


def test_an_approval_names_the_person_whose_decision_an_account_records(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    cluster.api.user = APPROVER
    approvals.approve(project, B, by="eve")
    assert approvals.find_approval(project, B).by == f"{APPROVER} for eve"  # type: ignore[union-attr]


def test_a_repeated_request_changes_nothing(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    version = cluster.journal.read().version
    request(project, cluster)
    assert cluster.journal.read().version == version


def test_a_second_rollout_is_refused_while_one_is_running(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    with pytest.raises(StateError, match="is running"):
        request(project, cluster, f"sha256:{'c' * 64}")


def test_releases_are_found_in_the_journal_without_the_release_store(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    assert find_release(project, "2").digest == B
    assert find_release(project, "champion").digest == A
    with pytest.raises(StateError):
        find_release(project, "3")


def test_a_request_is_refused_while_no_controller_holds_the_lease(project: Project, cluster: SimulatedCluster) -> None:
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    with pytest.raises(NotServingError, match="controller"):
        request(project, cluster)
    assert statuses.read_status(project).supervised is False


def test_a_command_appears_in_the_journal(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    assert commands.abort(project, by="bob") == B
    command = cluster.journal.read().command
    assert command is not None
    assert (command.kind, command.by) == (CommandKind.ABORT, REQUESTER)


def test_a_process_that_is_not_the_controller_does_not_write_the_journal(project: Project, cluster: SimulatedCluster) -> None:
    """An account without the controller's rights needs to write requests, commands and approvals only."""
    before = journal_text(cluster)
    request(project, cluster)
    approve(project, cluster)
    commands.abort(project, by="bob")
    assert journal_text(cluster) == before
    with pytest.raises(ValueError, match="not the controller may change nothing but the request and the command"):
        cluster.journal.update(lambda journal: dataclasses.replace(journal, history=()))


def journal_text(cluster: SimulatedCluster) -> str:
    return json.dumps(cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["status"])


@pytest.mark.parametrize(
    "change",
    [
        {"approvedBy": "the-controller"},
        {"approvedBy": ""},
        {"rollout": "another"},
        {"until": "tomorrow"},
        {"skipEvidence": "yes"},
        {"image": "churn:latest"},
        {"digest": "sha256:b"},
    ],
)
def test_an_approval_of_another_form_or_of_the_controller_is_ignored(
    project: Project, cluster: SimulatedCluster, change: dict[str, object]
) -> None:
    request(project, cluster)
    approve(project, cluster)
    reader = cluster.journal
    reader.account = "the-controller"
    assert [one.release for one in reader.read().approvals] == [B]
    written = next(found for (plural, _), found in reversed(cluster.api.objects.items()) if plural == ROLLOUT_APPROVAL.plural)
    written["spec"] |= change
    assert reader.read().approvals == ()


def test_an_approval_that_is_being_deleted_is_withdrawn(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    approve(project, cluster)
    written = next(found for (plural, _), found in reversed(cluster.api.objects.items()) if plural == ROLLOUT_APPROVAL.plural)
    written["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert cluster.journal.read().approvals == ()


def test_an_approval_with_the_controller_s_account_is_refused(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    lease = cluster.api.objects[LEASE.plural, "churn-rollout"]
    lease["metadata"]["annotations"] = {STATUS_ANNOTATION: json.dumps({"account": APPROVER})}
    with pytest.raises(RefusedError, match="may not approve"):
        approve(project, cluster)


def test_an_approval_is_valid_for_one_image(project: Project, cluster: SimulatedCluster) -> None:
    """A request that names the approved release with another image is not approved."""
    request(project, cluster)
    approve(project, cluster)
    assert approvals.find_approval(project, B)
    release = cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["spec"]["release"]
    release["image"] = release["image"].replace("churn@", "evil@")
    assert approvals.find_approval(project, B) is None


def test_a_spec_that_cannot_be_read_is_ignored(project: Project, cluster: SimulatedCluster) -> None:
    before = cluster.journal.read()
    spec = cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["spec"]
    spec["release"], spec["command"] = "{", {"id": "1", "kind": "conquer", "by": "x"}
    assert cluster.journal.read() == before


def test_planning_an_approval_pushes_no_image(
    project: Project, cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push(_project: Project, _digest: str) -> tuple[int, str]:
        raise AssertionError("planning must not push an image")

    monkeypatch.setattr(published_releases, "publish_release", push)
    assert approvals.plan_approval(project, B, by="eve").image == ""
