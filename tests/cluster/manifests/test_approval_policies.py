"""The policy on approvals, on a real API server: who may approve, and what must never change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import ALICE, BOB, CONTROLLER, EDITOR, GROUPS, LABELS, REQUESTER, approval, approve, refused
from manifests_cluster import SELDON, kubectl, needs, wait_for

if TYPE_CHECKING:
    from manifests_cluster import Answer, Site


def test_one_approves_in_ones_own_name(site: Site) -> None:
    assert approve(site, ALICE).done
    refused(approve(site, ALICE, BOB), f"data.recorded_by must be the account that approves: {ALICE}")


def test_an_approval_is_immutable(site: Site) -> None:
    refused(approve(site, ALICE, immutable=False), "must be immutable")
    refused(approve(site, ALICE, immutable=None), "must be immutable")


def test_an_approval_must_say_who_recorded_it(site: Site) -> None:
    body = approval(site, ALICE)
    for data in ({"approval": "{}"}, None):
        found = {key: value for key, value in body.items() if key != "data"} | ({"data": data} if data else {})
        answer = kubectl("create", "-f", "-", given=found, user=ALICE, groups=GROUPS[ALICE])
        refused(answer, "data.recorded_by must be the account")


def test_who_may_make_config_maps_for_another_reason_may_not_approve(site: Site) -> None:
    needs(site, SELDON)
    refused(approve(site, EDITOR), "needs the verb `approve`")


def test_no_requester_approves_and_a_pipeline_on_argo_in_its_own_name_alone(site: Site) -> None:
    refused(approve(site, REQUESTER), "cannot create resource")
    pipeline = site.account("sluice-pipeline", site.pipelines)
    assert approve(site, pipeline).done
    assert not approve(site, pipeline, recorded_by=ALICE).done


def test_the_controller_approves_nothing_even_where_its_role_was_widened(site: Site) -> None:
    controller = site.account(CONTROLLER)
    refused(approve(site, controller), "cannot create resource")
    bound = ["create", "rolebinding", "too-much", "--role=sluice-approver", "-n", site.production]
    assert kubectl(*bound, f"--serviceaccount={site.production}:{CONTROLLER}").done
    try:
        wait_for(lambda: "cannot create" not in approve(site, controller).error, "the Role is the controller's")
        refused(approve(site, controller), "the controller's account must not approve")
    finally:
        kubectl("delete", "rolebinding", "too-much", "-n", site.production)


EDITS = {
    "another deployment": [{"op": "replace", "path": "/metadata/labels/sluice.dev~1deployment", "value": "fraud"}],
    "no approval any more": [{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1component"}],
    "one label more": [{"op": "add", "path": "/metadata/labels/more", "value": "x"}],
    "an owner": [
        {
            "op": "add",
            "path": "/metadata/ownerReferences",
            "value": [{"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}],
        }
    ],
}


def edit(site: Site, name: str, patch: Any, user: str = "") -> Answer:
    flags = ["--type=json", "-p", json.dumps(patch), "-n", site.production]
    return kubectl("patch", "configmap", name, *flags, user=user, groups=GROUPS.get(user, ()))


@pytest.mark.parametrize("what", EDITS)
def test_an_approval_is_never_edited_not_even_by_an_administrator(site: Site, what: str) -> None:
    name = approve(site, ALICE).out.strip().removeprefix("configmap/")
    for user in (EDITOR, ""):
        refused(
            edit(site, name, EDITS[what], user),
            "an approval must not have an owner" if "owner" in what else "an approval must not change",
        )
    refused(edit(site, name, [{"op": "replace", "path": "/data/approval", "value": "{1}"}]), "mmutable")


@pytest.mark.parametrize("missing", ["app.kubernetes.io/component", "sluice.dev/deployment"])
def test_no_config_map_becomes_an_approval_later(site: Site, missing: str) -> None:
    """Made without one of the labels, nobody asks who made it; with both, it would be read."""
    answer = approve(site, EDITOR, BOB, **{missing: None})
    assert answer.done, answer.error
    name = answer.out.strip().removeprefix("configmap/")
    labelled = [{"op": "add", "path": f"/metadata/labels/{missing.replace('/', '~1')}", "value": LABELS[missing]}]
    for user in (EDITOR, ""):
        refused(edit(site, name, labelled, user), "an approval must not change")


def test_server_side_apply_is_no_way_around(site: Site) -> None:
    body = approval(site, BOB)
    answer = kubectl("apply", "--server-side", "-f", "-", given=body, user=EDITOR)
    refused(answer, "ValidatingAdmissionPolicy 'sluice-approvals")
    assert "needs the verb `approve`" in answer.error or "data.recorded_by must be" in answer.error, answer.error


def test_annotations_of_an_approval_may_change(site: Site) -> None:
    name = approve(site, ALICE).out.strip().removeprefix("configmap/")
    assert kubectl("annotate", "configmap", name, "archived=yes", "-n", site.production).done


def test_an_approval_is_withdrawn_by_who_may_approve(site: Site) -> None:
    needs(site, SELDON)
    name = approve(site, ALICE).out.strip()
    refused(kubectl("delete", name, "-n", site.production, user=EDITOR), "only the account that gave an approval")
    everything = ["delete", "configmap", "-l", "app.kubernetes.io/component=approval", "-n", site.production]
    refused(kubectl(*everything, user=EDITOR), "only the account that gave an approval")
    raw = f"/api/v1/namespaces/{site.production}/configmaps?labelSelector=app.kubernetes.io/component%3Dapproval"
    refused(kubectl("delete", "--raw", raw, user=EDITOR), "only the account that gave an approval")
    assert kubectl("delete", name, "-n", site.production).done


def test_an_approval_that_is_being_withdrawn_goes(site: Site) -> None:
    """Deletion in the foreground adds a finalizer, and the garbage collector takes it off again."""
    name = approve(site, ALICE).out.strip()
    assert kubectl("delete", name, "-n", site.production, "--cascade=foreground", "--timeout=30s").done


def test_the_policy_ignores_config_maps_that_are_no_approvals(site: Site) -> None:
    body = approval(site, "", immutable=None, **{"sluice.dev/deployment": None})
    assert kubectl("create", "-f", "-", given=body, user=EDITOR).done
