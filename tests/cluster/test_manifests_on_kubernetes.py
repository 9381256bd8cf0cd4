"""manifests/ on a real API server: it takes them, the Roles allow what they should, and the policies refuse the rest."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from manifests_cluster import ISTIO, POLICIES, RULES, SELDON, Answer, Site, find_missing, kubectl, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALICE, BOB, REQUESTER, EDITOR = "alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"
GROUPS = {ALICE: ["sluice-approvers"], BOB: ["sluice-approvers"], REQUESTER: ["sluice-requesters"], EDITOR: []}
LABELS = {
    "app.kubernetes.io/managed-by": "sluice",
    "app.kubernetes.io/component": "approval",
    "sluice.dev/deployment": "churn",
}
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if missing := find_missing():
        pytest.skip(f"manifests on a cluster: {missing}")
    found = Site()
    try:
        found.set_up()
        bound = ["create", "rolebinding", "editor", "--clusterrole=edit", f"--user={EDITOR}", "-n", found.production]
        assert kubectl(*bound).done
        wait_for(lambda: "immutable" in approve(found, ALICE, immutable=False).error, "the policy on approvals holds")
        yield found
    finally:
        found.tear_down()


def needs(site: Site, *kinds: str) -> None:
    if missing := [kind for kind in kinds if kind not in site.kinds]:
        pytest.skip(f"manifests on a cluster: {', '.join(missing)} is not registered")


# --- what the API server takes


@pytest.mark.parametrize(
    "overlay", ["base", "overlays/production/serving", "overlays/production", "overlays/argo", "overlays/kfp", "dashboards"]
)
def test_the_api_server_takes_it(site: Site, overlay: str) -> None:
    items = site.build(overlay)
    answer = site.apply(items, "--dry-run=server")
    assert answer.done, answer.error
    assert "would violate" not in answer.error, "the controller would not run in a restricted namespace"
    assert len(answer.out.splitlines()) == len(items)


def test_the_api_server_takes_the_alerts(site: Site) -> None:
    needs(site, RULES)
    answer = site.apply(site.build("alerts"), "--dry-run=server")
    assert answer.done, answer.error


def test_the_api_server_understands_the_policies(site: Site) -> None:
    """It checks each expression against the types of what it is about, and says what it cannot read."""
    needs(site, SELDON)
    schema = "{.spec.versions[?(@.name=='v1')].schema.openAPIV3Schema.properties.spec}"
    if not kubectl("get", "crd", SELDON, "-o", f"jsonpath={schema}").out:
        pytest.skip("manifests on a cluster: the kind SeldonDeployment that is registered has no schema to check against")
    for policy in POLICIES:
        name = f"{policy}-{site.session}"
        wait_for(lambda name=name: checked(name), f"{name} was checked")
        answer = kubectl("get", "validatingadmissionpolicy", name, "-o", "jsonpath={.status.typeChecking}")
        assert answer.out in {"", "{}"}, answer.out


def checked(name: str) -> bool:
    found = kubectl(
        "get", "validatingadmissionpolicy", name, "-o", "jsonpath={.metadata.generation} {.status.observedGeneration}"
    )
    generation, _, observed = found.out.partition(" ")
    return generation == observed


# --- who may do what

RESULTS = "workflowtaskresults.argoproj.io"
CONTROLLER = "sluice-controller"
MAY = {
    # resource, verb: controller, requester, approver, pipeline
    (SELDON, "get"): "crap",
    (SELDON, "watch"): "c",
    (SELDON, "patch"): "crp",
    (SELDON, "create"): "rp",
    (SELDON, "update"): "",
    (SELDON, "delete"): "",
    (SELDON, "approve"): "ap",
    (ISTIO, "get"): "c",
    (ISTIO, "patch"): "c",
    (ISTIO, "create"): "",
    (ISTIO, "delete"): "",
    ("leases.coordination.k8s.io", "get"): "crap",
    ("leases.coordination.k8s.io", "create"): "c",
    ("leases.coordination.k8s.io", "patch"): "c",
    ("leases.coordination.k8s.io", "delete"): "",
    ("configmaps", "list"): "crap",
    ("configmaps", "create"): "ap",
    ("configmaps", "update"): "",
    ("configmaps", "patch"): "",
    ("configmaps", "delete"): "",
    ("pods", "list"): "c",
    ("pods", "create"): "",
    ("pods", "delete"): "",
    ("events", "create"): "c",
    ("secrets", "get"): "",
    ("serviceaccounts/token", "create"): "",
    ("rolebindings.rbac.authorization.k8s.io", "create"): "",
    ("deployments.apps", "patch"): "",
}


@pytest.mark.parametrize(("resource", "verb"), MAY)
def test_each_account_may_do_its_own(site: Site, resource: str, verb: str) -> None:
    needs(site, *({resource} & {SELDON, ISTIO}))
    who = {
        "c": (site.account(CONTROLLER), []),
        "r": (REQUESTER, GROUPS[REQUESTER]),
        "a": (ALICE, GROUPS[ALICE]),
        "p": (site.account("sluice-pipeline", site.pipelines), []),
    }
    resource, _, sub = resource.partition("/")
    flags = [f"--subresource={sub}"] if sub else []
    for letter, (user, groups) in who.items():
        answer = kubectl("auth", "can-i", verb, resource, *flags, "-n", site.production, user=user, groups=groups)
        assert answer.out.strip() == ("yes" if letter in MAY[resource if not sub else f"{resource}/{sub}", verb] else "no"), user


@pytest.mark.parametrize(
    ("resource", "verb", "may"),
    [
        (RESULTS, "create", True),
        (RESULTS, "patch", True),
        ("pods", "create", True),
        ("pods", "delete", True),
        ("pods/log", "get", True),
        ("pods/exec", "create", False),
        ("secrets", "get", False),
        ("configmaps", "create", False),
    ],
)
def test_a_step_may_do_its_own_where_it_runs(site: Site, resource: str, verb: str, may: bool) -> None:
    needs(site, *({resource} & {RESULTS}))
    resource, _, sub = resource.partition("/")
    flags = [f"--subresource={sub}"] if sub else []
    user = site.account("sluice-pipeline", site.pipelines)
    answer = kubectl("auth", "can-i", verb, resource, *flags, "-n", site.pipelines, user=user)
    assert answer.out.strip() == ("yes" if may else "no"), answer.error


def test_pod_security_holds(site: Site) -> None:
    """Pipelines run restricted; production takes what Seldon's executor makes of a Pod, and nothing privileged."""

    def run(namespace: str, **spec: Any) -> Answer:
        security = {"runAsUser": 8888, "allowPrivilegeEscalation": False}
        containers = [{"name": "main", "image": "model", "securityContext": security}]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": {"containers": containers, **spec}}
        return kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", given=body)

    assert "PodSecurity" in run(site.pipelines).error
    assert run(site.production).done
    assert "PodSecurity" in run(site.production, hostNetwork=True).error


# --- approvals


def approval(site: Site, recorded_by: str, *, immutable: bool | None = True, **labels: str | None) -> dict[str, Any]:
    metadata = {"name": f"churn-approval-{next(_NUMBERS)}", "namespace": site.production, "labels": LABELS}
    metadata["labels"] = {key: value for key, value in (LABELS | labels).items() if value is not None}
    data = {"approval": "{}", "recorded_by": recorded_by}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return body | ({} if immutable is None else {"immutable": immutable})


def approve(site: Site, user: str, recorded_by: str = "", **changes: Any) -> Answer:
    body = approval(site, recorded_by or user, **changes)
    return kubectl("create", "-f", "-", "-o", "name", given=body, user=user, groups=GROUPS.get(user, ()))


def refused(answer: Answer, why: str) -> None:
    assert not answer.done, answer.out
    assert why in answer.error, answer.error


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
    import json

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
    refused(answer, "needs the verb `approve`" if SELDON in site.kinds else "data.recorded_by must be")


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


def test_other_config_maps_are_nobodys_business(site: Site) -> None:
    body = approval(site, "", immutable=None, **{"sluice.dev/deployment": None})
    assert kubectl("create", "-f", "-", given=body, user=EDITOR).done


# --- SeldonDeployments


def deployment(replicas: int = 0, **annotations: str) -> dict[str, Any]:
    container = {"name": "model", "image": "model@sha256:0"}
    predictor = {
        "name": "r1",
        "replicas": replicas,
        "traffic": 0,
        "graph": {"name": "model", "type": "MODEL", "children": []},
        "componentSpecs": [{"spec": {"containers": [container]}}],
    }
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": f"churn-{next(_NUMBERS)}", "annotations": {"sluice.dev/request": "{}", **annotations}},
        "spec": {"name": "churn", "predictors": [predictor]},
    }


def create(site: Site, body: Mapping[str, Any], user: str) -> Answer:
    return kubectl("create", "-n", site.production, "-o", "name", "-f", "-", given=body, user=user, groups=GROUPS.get(user, ()))


def patch(site: Site, name: str, change: Mapping[str, Any], user: str) -> Answer:
    import json

    flags = ["--type=merge", "-p", json.dumps(change), "-n", site.production]
    return kubectl("patch", name, *flags, user=user, groups=GROUPS.get(user, ()))


@pytest.fixture
def steered(site: Site) -> tuple[str, str]:
    """A SeldonDeployment that a pipeline has made, and the pipeline's account."""
    needs(site, SELDON, ISTIO)
    pipeline = site.account("sluice-pipeline", site.pipelines)
    answer = create(site, deployment(), pipeline)
    assert answer.done, answer.error
    return answer.out.strip(), pipeline


def started(body: dict[str, Any], change: str) -> dict[str, Any]:
    found = copy.deepcopy(body)
    (predictor,) = found["spec"]["predictors"]
    if change == "replicas":
        predictor["replicas"] = 1
    elif change == "replicas unsaid":
        del predictor["replicas"]
    elif change == "replicas of a part":
        predictor["componentSpecs"][0]["replicas"] = 1
    elif change == "scaled":
        predictor["componentSpecs"][0]["hpaSpec"] = {"minReplicas": 1, "maxReplicas": 2}
    elif change == "an engine apart":
        predictor["svcOrchSpec"] = {"replicas": 1}
    else:
        predictor["explainer"] = {"type": "AnchorTabular"}
    return found


@pytest.mark.parametrize(
    "change", ["replicas", "replicas unsaid", "replicas of a part", "scaled", "an engine apart", "explainer"]
)
def test_nothing_starts_that_was_not_approved(site: Site, steered: tuple[str, str], change: str) -> None:
    refused(create(site, started(deployment(), change), steered[1]), "a new SeldonDeployment must have no replicas")


@pytest.mark.parametrize("key", ["sluice.dev/journal", "sluice.dev/epoch"])
def test_nobody_makes_one_with_a_journal_of_their_own(site: Site, steered: tuple[str, str], key: str) -> None:
    refused(create(site, deployment(**{key: "1"}), steered[1]), "a new SeldonDeployment must not have a journal")


def test_who_asks_writes_a_request_and_a_command_and_nothing_else(site: Site, steered: tuple[str, str]) -> None:
    name, pipeline = steered
    journal = {"metadata": {"annotations": {"sluice.dev/request": '{"id": "2"}', "sluice.dev/command": "{}"}}}
    assert patch(site, name, journal, pipeline).done
    assert patch(site, name, journal, REQUESTER).done
    for change in (
        {"metadata": {"annotations": {"sluice.dev/request": None}}},
        {"metadata": {"annotations": {"sluice.dev/journal": '{"version": 9}'}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"annotations": {"sluice.dev/epoch": "1000000"}}},
        {"metadata": {"annotations": {"seldon.io/rest-timeout": "1"}}},
    ):
        refused(patch(site, name, change, pipeline), "can write only the annotations sluice.dev/request")
    spec = {"spec": {"predictors": deployment(replicas=1)["spec"]["predictors"]}}
    refused(patch(site, name, spec, pipeline), "only the controller changes predictors and their traffic")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
    refused(patch(site, name, {"metadata": {"ownerReferences": [owner]}}, pipeline), "must not have an owner")


def test_the_controller_moves_it(site: Site, steered: tuple[str, str]) -> None:
    predictors = deployment(replicas=1)["spec"]["predictors"]
    change = {"metadata": {"annotations": {"sluice.dev/epoch": "4"}}, "spec": {"predictors": predictors}}
    answer = patch(site, steered[0], change, site.account(CONTROLLER))
    assert answer.done, answer.error
