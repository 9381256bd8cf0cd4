"""The manifests on a real API server: it accepts them, and each account may do what it needs and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import ALICE, CONTROLLER, GROUPS, REQUESTER
from manifests_cluster import ISTIO, POLICIES, RULES, SELDON, kubectl, needs, wait_for

if TYPE_CHECKING:
    from manifests_cluster import Answer, Site


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
