"""Test the manifests on a real API server: it accepts them, and each account has exactly the rights that it needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import ALICE, CONTROLLER, GROUPS, REQUESTER, approve, create, make_rollout
from manifests_cluster import (
    ISTIO,
    POLICIES,
    PROMETHEUS_RULES,
    SELDON,
    SERVICE_MONITORS,
    kubectl,
    may,
    skip_unless_registered,
    wait_for,
)

if TYPE_CHECKING:
    from manifests_cluster import Installation, KubectlResult


@pytest.mark.parametrize(
    "overlay",
    [
        "base",
        "overlays/production/serving",
        "overlays/production",
        "overlays/argo",
        "overlays/kfp",
        "overlays/triggers",
        "dashboards",
    ],
)
def test_the_api_server_accepts_the_overlay(installation: Installation, overlay: str) -> None:
    items = installation.build(overlay)
    result = installation.apply(items, "--dry-run=server")
    assert result.succeeded, result.error
    assert "would violate" not in result.error, "the controller could not run in a restricted namespace"
    assert len(result.out.splitlines()) == len(items)


def test_the_api_server_accepts_the_alerts(installation: Installation) -> None:
    skip_unless_registered(installation, PROMETHEUS_RULES, SERVICE_MONITORS)
    result = installation.apply(installation.build("alerts"), "--dry-run=server")
    assert result.succeeded, result.error


def test_the_expressions_of_the_policies_have_no_type_errors(installation: Installation) -> None:
    """The API server checks each expression against the schema of its objects, and lists the errors in the policy's status."""
    skip_unless_registered(installation, SELDON)
    schema = "{.spec.versions[?(@.name=='v1')].schema.openAPIV3Schema.properties.spec}"
    if not kubectl("get", "crd", SELDON, "-o", f"jsonpath={schema}").out:
        pytest.skip(
            "manifests on a cluster: the registered kind SeldonDeployment has no schema, so the expressions cannot be checked"
        )
    for policy in POLICIES:
        name = f"{policy}-{installation.session}"
        wait_for(lambda name=name: is_checked(name), f"the API server to check {name}")
        result = kubectl("get", "validatingadmissionpolicy", name, "-o", "jsonpath={.status.typeChecking}")
        assert result.out in {"", "{}"}, result.out


def is_checked(name: str) -> bool:
    """Return whether the API server has checked the present version of a policy."""
    found = kubectl(
        "get", "validatingadmissionpolicy", name, "-o", "jsonpath={.metadata.generation} {.status.observedGeneration}"
    )
    generation, _, observed = found.out.partition(" ")
    return generation == observed


# --- rights of the accounts


def test_a_right_is_found_even_if_its_kind_is_not_registered(installation: Installation) -> None:
    """The cluster of CI has no Argo, and these tests must see there what the accounts may do with Workflows."""
    api, namespace = "rbac.authorization.k8s.io", installation.production
    metadata = {"name": "not-registered", "namespace": namespace}
    rules = [{"apiGroups": ["nowhere.example"], "resources": ["things"], "verbs": ["create"]}]
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    subject = {"kind": "Group", "name": "makers", "apiGroup": api}
    reference = {"apiGroup": api, "kind": "Role", "name": "not-registered"}
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "subjects": [subject],
        "roleRef": reference,
    }
    assert installation.apply([role, binding]).succeeded
    wait_for(lambda: may("ann", "create", "things.nowhere.example", namespace, groups=["makers"]), "the Role to take effect")
    assert not may("ann", "delete", "things.nowhere.example", namespace, groups=["makers"])
    assert not may("ann", "create", "things.nowhere.example", namespace)


ALLOWED = {
    # (resource, verb): the accounts that may do it: c(ontroller), r(equester), a(pprover), p(ipeline's canary step)
    ("modelrollouts.sluice.dev", "get"): "crap",
    ("modelrollouts.sluice.dev", "list"): "rap",
    ("modelrollouts.sluice.dev", "watch"): "crap",
    ("modelrollouts.sluice.dev", "create"): "crp",
    ("modelrollouts.sluice.dev", "patch"): "rap",
    ("modelrollouts.sluice.dev", "update"): "",
    ("modelrollouts.sluice.dev", "delete"): "",
    ("modelrollouts.sluice.dev", "request"): "rp",
    ("modelrollouts.sluice.dev", "rollback"): "a",
    ("modelrollouts.sluice.dev", "scale"): "ca",
    ("modelrollouts.sluice.dev/scale", "patch"): "ca",
    ("modelrollouts.sluice.dev/scale", "update"): "a",
    ("modelrollouts.sluice.dev/status", "update"): "c",
    ("modelrollouts.sluice.dev/status", "patch"): "",
    ("rolloutapprovals.sluice.dev", "get"): "rap",
    ("rolloutapprovals.sluice.dev", "list"): "crap",
    ("rolloutapprovals.sluice.dev", "watch"): "rap",
    ("rolloutapprovals.sluice.dev", "create"): "a",
    ("rolloutapprovals.sluice.dev", "update"): "",
    ("rolloutapprovals.sluice.dev", "patch"): "",
    ("rolloutapprovals.sluice.dev", "delete"): "a",
    (SELDON, "get"): "c",
    (SELDON, "watch"): "c",
    (SELDON, "patch"): "c",
    (SELDON, "create"): "c",
    (SELDON, "update"): "c",
    (SELDON, "delete"): "",
    (ISTIO, "get"): "c",
    (ISTIO, "patch"): "c",
    (ISTIO, "watch"): "c",
    (ISTIO, "create"): "c",
    (ISTIO, "update"): "",
    (ISTIO, "delete"): "",
    ("destinationrules.networking.istio.io", "list"): "c",
    ("destinationrules.networking.istio.io", "create"): "c",
    ("destinationrules.networking.istio.io", "patch"): "c",
    ("destinationrules.networking.istio.io", "delete"): "",
    ("leases.coordination.k8s.io", "get"): "crap",
    ("leases.coordination.k8s.io", "create"): "c",
    ("leases.coordination.k8s.io", "patch"): "c",
    ("leases.coordination.k8s.io", "delete"): "",
    ("configmaps", "list"): "",
    ("configmaps", "create"): "",
    ("configmaps", "update"): "",
    ("configmaps", "patch"): "",
    ("configmaps", "delete"): "",
    ("pods", "list"): "c",
    ("pods", "create"): "",
    ("pods", "delete"): "",
    ("events", "create"): "c",
    ("events", "list"): "rap",
    ("secrets", "get"): "",
    ("serviceaccounts/token", "create"): "",
    ("rolebindings.rbac.authorization.k8s.io", "create"): "",
    ("deployments.apps", "patch"): "",
}


@pytest.mark.parametrize(("resource", "verb"), ALLOWED)
def test_each_account_has_exactly_its_rights(installation: Installation, resource: str, verb: str) -> None:
    accounts = {
        "c": (installation.account(CONTROLLER), []),
        "r": (REQUESTER, GROUPS[REQUESTER]),
        "a": (ALICE, GROUPS[ALICE]),
        "p": (installation.account("sluice-canary", installation.pipelines), []),
    }
    for letter, (user, groups) in accounts.items():
        assert may(user, verb, resource, installation.production, groups=groups) == (letter in ALLOWED[resource, verb]), user


def test_pod_security_is_enforced_in_both_namespaces(installation: Installation) -> None:
    """Pipelines must be restricted. Production accepts Pods as Seldon completes them, but no privileged ones."""

    def run(namespace: str, **spec: Any) -> KubectlResult:
        security = {"runAsUser": 8888, "allowPrivilegeEscalation": False}
        containers = [{"name": "main", "image": "model", "securityContext": security}]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": {"containers": containers, **spec}}
        return kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", given=body)

    assert "PodSecurity" in run(installation.pipelines).error
    assert run(installation.production).succeeded
    assert "PodSecurity" in run(installation.production, hostNetwork=True).error


READER = "sluice-reader"
CONDITION = {
    "type": "Promoted",
    "status": "True",
    "reason": "Promoted",
    "message": "release r1-aaaaaaaa is the champion",
    "lastTransitionTime": "2030-01-01T00:00:00Z",
    "observedGeneration": 1,
}


@pytest.fixture(scope="module")
def promoted(installation: Installation) -> str:
    """Create a ModelRollout whose status says that its release was promoted, with an event, and return its name."""
    body = make_rollout(installation, REQUESTER)
    name = str(body["metadata"]["name"])
    assert create(body, REQUESTER).succeeded
    status = {"status": {"phase": "promoted", "conditions": [CONDITION]}}
    place = ["-n", installation.production]
    written = kubectl("patch", "modelrollout", name, "--subresource=status", "--type=merge", "-p", json.dumps(status), *place)
    assert written.succeeded, written.error
    uid = kubectl("get", "modelrollout", name, "-o", "jsonpath={.metadata.uid}", *place).out
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": installation.production},
        "involvedObject": {
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "ModelRollout",
            "name": name,
            "namespace": installation.production,
            "uid": uid,
        },
        "type": "Warning",
        "reason": "PutRight",
        "message": "predictor r1-aaaaaaaa was changed by others; it was put right",
    }
    made = kubectl("create", "-f", "-", given=event)
    assert made.succeeded, made.error
    return name


@pytest.mark.parametrize("who", [REQUESTER, ALICE, READER])
def test_people_get_wait_and_describe(installation: Installation, promoted: str, who: str) -> None:
    user = installation.account(READER, installation.pipelines) if who == READER else who
    groups = GROUPS.get(who, ())
    place = ["-n", installation.production]

    listed = kubectl("get", "modelrollouts", *place, user=user, groups=groups)
    assert listed.succeeded, listed.error
    assert promoted in listed.out
    waited = kubectl(
        "wait", f"modelrollout/{promoted}", "--for=condition=Promoted", "--timeout=60s", *place, user=user, groups=groups
    )
    assert waited.succeeded, waited.error
    described = kubectl("describe", "modelrollout", promoted, *place, user=user, groups=groups)
    assert described.succeeded, described.error
    assert "release r1-aaaaaaaa is the champion" in described.out
    assert "was changed by others; it was put right" in described.out, "kubectl describe shows the events"


@pytest.mark.parametrize("who", [REQUESTER, ALICE, READER])
def test_people_see_the_approvals(installation: Installation, who: str) -> None:
    approved = approve(installation, ALICE)
    assert approved.succeeded, approved.error
    name, place = approved.out.strip(), ["-n", installation.production]
    user = installation.account(READER, installation.pipelines) if who == READER else who
    groups = GROUPS.get(who, ())
    listed = kubectl("get", "rolloutapprovals", *place, user=user, groups=groups)
    assert name.partition("/")[2] in listed.out, listed.error
    described = kubectl("describe", name, *place, user=user, groups=groups)
    assert ALICE in described.out, described.error
