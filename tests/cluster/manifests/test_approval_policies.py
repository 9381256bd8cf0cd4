"""Test the policy on approvals on a real API server: who may approve, and that an approval cannot be changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from approvals_by_kubectl import ALICE, BOB, CONTROLLER, EDITOR, GROUPS, LABELS, REQUESTER, approve, assert_refused, make_approval
from manifests_cluster import MANIFESTS, kubectl, wait_for

if TYPE_CHECKING:
    from manifests_cluster import Installation, KubectlResult


def test_an_approver_can_approve_only_in_their_own_name(installation: Installation) -> None:
    assert approve(installation, ALICE).succeeded
    assert_refused(approve(installation, ALICE, BOB), f"data.recorded_by must be the account that approves: {ALICE}")


def test_an_approval_is_immutable(installation: Installation) -> None:
    assert_refused(approve(installation, ALICE, immutable=False), "must be immutable")
    assert_refused(approve(installation, ALICE, immutable=None), "must be immutable")


def test_an_approval_must_say_who_recorded_it(installation: Installation) -> None:
    body = make_approval(installation, ALICE)
    for data in ({"approval": "{}"}, None):
        found = {key: value for key, value in body.items() if key != "data"} | ({"data": data} if data else {})
        result = kubectl("create", "-f", "-", given=found, user=ALICE, groups=GROUPS[ALICE])
        assert_refused(result, "data.recorded_by must be the account")


def test_the_right_to_create_config_maps_is_not_enough_to_approve(installation: Installation) -> None:
    assert_refused(approve(installation, EDITOR), "needs the verb `approve`")


def test_neither_a_requester_nor_the_canary_step_can_approve(installation: Installation) -> None:
    assert_refused(approve(installation, REQUESTER), "cannot create resource")
    pipeline = installation.account("sluice-canary", installation.pipelines)
    assert_refused(approve(installation, pipeline), "cannot create resource")


def test_with_the_component_the_canary_step_approves_only_in_its_own_name(installation: Installation) -> None:
    pipeline = installation.account("sluice-canary", installation.pipelines)
    text = installation.rename((MANIFESTS / "components" / "resumed-approvals" / "binding.yaml").read_text())
    binding = yaml.safe_load(text)
    assert installation.apply([binding]).succeeded
    try:
        wait_for(lambda: approve(installation, pipeline).succeeded, "the canary's account to have the Role")
        assert_refused(approve(installation, pipeline, recorded_by=ALICE), "data.recorded_by must be the account")
    finally:
        kubectl("delete", "rolebinding", binding["metadata"]["name"], "-n", installation.production)


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


EDITS = {
    "another deployment": [{"op": "replace", "path": "/metadata/labels/sluice.dev~1deployment", "value": "fraud"}],
    "no longer an approval": [{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1component"}],
    "one label more": [{"op": "add", "path": "/metadata/labels/more", "value": "x"}],
    "an owner": [
        {
            "op": "add",
            "path": "/metadata/ownerReferences",
            "value": [{"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}],
        }
    ],
}


def edit(installation: Installation, name: str, patch: Any, user: str = "") -> KubectlResult:
    flags = ["--type=json", "-p", json.dumps(patch), "-n", installation.production]
    return kubectl("patch", "configmap", name, *flags, user=user, groups=GROUPS.get(user, ()))


@pytest.mark.parametrize("what", EDITS)
def test_not_even_an_administrator_can_change_an_approval(installation: Installation, what: str) -> None:
    name = approve(installation, ALICE).out.strip().removeprefix("configmap/")
    for user in (EDITOR, ""):
        assert_refused(
            edit(installation, name, EDITS[what], user),
            "an approval must not have an owner" if "owner" in what else "an approval must not change",
        )
    assert_refused(edit(installation, name, [{"op": "replace", "path": "/data/approval", "value": "{1}"}]), "mmutable")


@pytest.mark.parametrize("missing", ["app.kubernetes.io/component", "sluice.dev/deployment"])
def test_a_config_map_cannot_become_an_approval_later(installation: Installation, missing: str) -> None:
    """The policy does not check who creates a ConfigMap without one of the labels, so the label must not be added later."""
    result = approve(installation, EDITOR, BOB, **{missing: None})
    assert result.succeeded, result.error
    name = result.out.strip().removeprefix("configmap/")
    labelled = [{"op": "add", "path": f"/metadata/labels/{missing.replace('/', '~1')}", "value": LABELS[missing]}]
    for user in (EDITOR, ""):
        assert_refused(edit(installation, name, labelled, user), "an approval must not change")


def test_the_policy_also_applies_to_server_side_apply(installation: Installation) -> None:
    body = make_approval(installation, BOB)
    result = kubectl("apply", "--server-side", "-f", "-", given=body, user=EDITOR)
    assert_refused(result, "ValidatingAdmissionPolicy 'sluice-approvals")
    assert "needs the verb `approve`" in result.error or "data.recorded_by must be" in result.error, result.error


def test_annotations_of_an_approval_may_change(installation: Installation) -> None:
    name = approve(installation, ALICE).out.strip().removeprefix("configmap/")
    assert kubectl("annotate", "configmap", name, "archived=yes", "-n", installation.production).succeeded


def test_an_editor_cannot_withdraw_an_approval_but_an_administrator_can(installation: Installation) -> None:
    name = approve(installation, ALICE).out.strip()
    assert_refused(kubectl("delete", name, "-n", installation.production, user=EDITOR), "only the account that gave an approval")
    everything = ["delete", "configmap", "-l", "app.kubernetes.io/component=approval", "-n", installation.production]
    assert_refused(kubectl(*everything, user=EDITOR), "only the account that gave an approval")
    raw = f"/api/v1/namespaces/{installation.production}/configmaps?labelSelector=app.kubernetes.io/component%3Dapproval"
    assert_refused(kubectl("delete", "--raw", raw, user=EDITOR), "only the account that gave an approval")
    assert kubectl("delete", name, "-n", installation.production).succeeded


def test_an_approval_can_be_withdrawn_with_foreground_deletion(installation: Installation) -> None:
    """Foreground deletion adds a finalizer, and the garbage collector must be allowed to remove it."""
    name = approve(installation, ALICE).out.strip()
    assert kubectl("delete", name, "-n", installation.production, "--cascade=foreground", "--timeout=30s").succeeded


def test_the_policy_ignores_config_maps_that_are_not_approvals(installation: Installation) -> None:
    body = make_approval(installation, "", immutable=None, **{"sluice.dev/deployment": None})
    assert kubectl("create", "-f", "-", given=body, user=EDITOR).succeeded
