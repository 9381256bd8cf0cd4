"""In a cluster, the commands of a rollout print the account that was recorded, and not the name that they were given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from asking import acting, request
from simulated_cluster import APPROVER, NAME, REQUESTER, SimulatedCluster, SimulatedServer
from typer.testing import CliRunner

from sluice.cli.production import rollout_facts, rollouts
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT, ROLLOUT_APPROVAL
from sluice.rollout.requests import starts
from sluice.rollout.requests.release_references import NamedRelease

if TYPE_CHECKING:
    from sluice.project.projects import Project

A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture(autouse=True)
def releases(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands find the project and its releases without a registry."""
    monkeypatch.setattr(rollouts, "open_project", lambda _: project)
    for module in (rollouts, rollout_facts):
        monkeypatch.setattr(module, "find_release", lambda _project, ref: NamedRelease(A if ref == A else B, 2))
    monkeypatch.setattr(rollouts, "_find_warnings", lambda *_: {})
    monkeypatch.setattr(starts, "read_ledger_head", lambda *_: "")


def invoke(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(rollouts.app, [*arguments, "--by", "kim", "--output", "json"])
    assert done.exit_code == 0, done.output
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def list_approvals(cluster: SimulatedCluster) -> list[dict[str, Any]]:
    """Return the specs of the RolloutApprovals of B."""
    kind = ROLLOUT_APPROVAL.plural
    return [one["spec"] for (plural, _), one in cluster.api.objects.items() if plural == kind and one["spec"]["digest"] == B]


def bring_to_its_step(cluster: SimulatedCluster) -> Any:
    control = cluster.controller("two")
    cluster.api.objects[LEASE.plural, "churn-rollout"]["spec"]["holderIdentity"] = ""
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    return control


def test_a_request_is_by_the_account(cluster: SimulatedCluster) -> None:
    cluster.api.user = REQUESTER
    assert invoke("start", "2", "--dry-run")["by"] == REQUESTER
    assert invoke("start", "2")["by"] == REQUESTER
    assert cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["spec"]["requestedBy"] == REQUESTER


def test_an_approval_is_by_the_account_for_the_reviewer(project: Project, cluster: SimulatedCluster) -> None:
    request(project, cluster)
    cluster.api.user = APPROVER
    assert invoke("approve", "2")["by"] == f"{APPROVER} for kim"
    (spec,) = list_approvals(cluster)
    assert (spec["approvedBy"], spec["reviewer"]) == (APPROVER, "kim")
    assert invoke("approve", "2")["by"] == f"{APPROVER} for kim"  # the second one changes nothing


def test_an_abort_is_by_the_account(cluster: SimulatedCluster) -> None:
    bring_to_its_step(cluster)
    cluster.api.user = REQUESTER
    assert invoke("abort", "--yes")["by"] == REQUESTER
    assert cluster.api.objects[MODEL_ROLLOUT.plural, NAME]["spec"]["command"]["by"] == REQUESTER


def test_a_promotion_is_by_the_account_and_names_no_reviewer(cluster: SimulatedCluster) -> None:
    bring_to_its_step(cluster)
    cluster.api.user = APPROVER
    assert invoke("promote", "2", "--why", "the old one is on fire", "--yes")["by"] == APPROVER
    (spec,) = (one for one in list_approvals(cluster) if one.get("skipEvidence"))
    assert (spec["approvedBy"], spec.get("reviewer")) == (APPROVER, None)


def test_a_rollback_is_by_the_account(cluster: SimulatedCluster) -> None:
    control = bring_to_its_step(cluster)
    cluster.api.user = APPROVER
    assert invoke("rollback", "--dry-run")["by"] == APPROVER
    with acting(cluster, control):
        assert invoke("rollback", "--yes")["by"] == APPROVER
    assert cluster.journal.read().transitions[-1].commanded_by == APPROVER
