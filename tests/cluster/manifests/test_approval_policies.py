"""Test RolloutApprovals on a real API server: who may approve, and that an approval cannot be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import (
    ALICE,
    BOB,
    CONTROLLER,
    EDITOR,
    OTHER,
    REQUESTER,
    approve,
    assert_refused,
    make_approval,
    patch,
)
from manifests_cluster import kubectl, wait_for

if TYPE_CHECKING:
    from manifests_cluster import Installation


def test_an_approver_can_approve_only_in_their_own_name(installation: Installation) -> None:
    assert approve(installation, ALICE).succeeded
    assert_refused(approve(installation, ALICE, BOB), f"spec.approvedBy must be the account that approves: {ALICE}")


@pytest.mark.parametrize("missing", ["rollout", "digest", "image", "steps", "until", "approvedBy"])
def test_an_approval_must_be_complete(installation: Installation, missing: str) -> None:
    assert_refused(approve(installation, ALICE, **{missing: None}), "Required value")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("digest", "sha256:a", "spec.digest"),
        ("image", "churn:latest", "spec.image"),
        ("until", "tomorrow", "spec.until"),
        ("steps", [], "spec.steps"),
        ("steps", [0, 100], "spec.steps"),
        ("skipEvidence", True, "needs a note that says why"),
    ],
)
def test_an_approval_that_makes_no_sense_is_refused(installation: Installation, field: str, value: Any, reason: str) -> None:
    assert_refused(approve(installation, ALICE, **{field: value}), reason)


def test_an_approval_that_skips_the_evidence_says_why(installation: Installation) -> None:
    assert approve(installation, ALICE, skipEvidence=True, note="the champion is on fire").succeeded


@pytest.mark.parametrize("user", [EDITOR, REQUESTER])
def test_no_other_person_can_approve(installation: Installation, user: str) -> None:
    assert_refused(approve(installation, user), "cannot create resource")


@pytest.mark.parametrize("account", ["sluice-canary", "sluice-gate", "sluice-pipeline", "sluice-reader", "sluice-integration"])
def test_no_step_of_a_pipeline_can_approve(installation: Installation, account: str) -> None:
    assert_refused(approve(installation, installation.account(account, installation.pipelines)), "cannot create resource")


def test_the_controller_cannot_approve_even_with_the_role_of_an_approver(installation: Installation) -> None:
    controller = installation.account(CONTROLLER)
    assert_refused(approve(installation, controller), "cannot create resource")
    bound = ["create", "rolebinding", "too-much", "--role=sluice-approver", "-n", installation.production]
    assert kubectl(*bound, f"--serviceaccount={installation.production}:{CONTROLLER}").succeeded
    try:
        wait_for(lambda: "cannot create" not in approve(installation, controller).error, "the controller to have the Role")
        assert_refused(approve(installation, controller), "the controller's account must not approve")
    finally:
        kubectl("delete", "rolebinding", "too-much", "-n", installation.production)


@pytest.mark.parametrize(
    "change", [{"digest": OTHER}, {"steps": [100]}, {"until": "2200-01-01T00:00:00Z"}, {"skipEvidence": True, "note": "x"}]
)
def test_not_even_an_administrator_can_change_an_approval(installation: Installation, change: dict[str, Any]) -> None:
    name = approve(installation, ALICE).out.strip()
    assert_refused(patch(installation, name, {"spec": change}, ""), "an approval must not change")


def test_an_approval_has_no_owner_with_which_it_would_be_deleted(installation: Installation) -> None:
    name = approve(installation, ALICE).out.strip()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
    change = {"metadata": {"ownerReferences": [owner]}}
    assert_refused(patch(installation, name, change, ""), "an approval must not have an owner")
    body = make_approval(installation, ALICE)
    body["metadata"] |= {"ownerReferences": [owner]}
    result = kubectl("create", "-f", "-", given=body, user=ALICE, groups=["sluice-approvers"])
    assert_refused(result, "an approval must not have an owner")


def test_the_policy_also_applies_to_server_side_apply(installation: Installation) -> None:
    body = make_approval(installation, BOB)
    assert_refused(kubectl("apply", "--server-side", "-f", "-", given=body), "spec.approvedBy must be the account")


def test_only_an_approver_or_an_administrator_can_withdraw_an_approval(installation: Installation) -> None:
    name = approve(installation, ALICE).out.strip()
    bound = ["create", "rolebinding", "deleters", "--clusterrole=admin", f"--user={EDITOR}", "-n", installation.production]
    assert kubectl(*bound).succeeded
    result = kubectl("delete", name, "-n", installation.production, user=EDITOR)
    assert not result.succeeded
    kubectl("delete", "rolebinding", "deleters", "-n", installation.production)
    assert kubectl("delete", name, "-n", installation.production).succeeded


def test_an_approval_can_be_withdrawn_with_foreground_deletion(installation: Installation) -> None:
    """Foreground deletion adds a finalizer, and the garbage collector must be allowed to remove it."""
    name = approve(installation, ALICE).out.strip()
    assert kubectl("delete", name, "-n", installation.production, "--cascade=foreground", "--timeout=30s").succeeded
