"""The accounts of the drift monitor and the webhook on a real API server: they may create Workflows, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from manifests_cluster import EVENT_BINDINGS, MANIFESTS, kubectl, may, skip_unless_registered

if TYPE_CHECKING:
    from manifests_cluster import Installation

ACCOUNTS = ("sluice-monitor", "sluice-webhook")
WORKFLOWS = "workflows.argoproj.io"
REFUSED = (
    (WORKFLOWS, "delete"),
    (WORKFLOWS, "patch"),
    (WORKFLOWS, "list"),
    ("workflowtemplates.argoproj.io", "patch"),
    ("workflowtemplates.argoproj.io", "create"),
    ("cronworkflows.argoproj.io", "create"),
    ("pods", "create"),
    ("pods", "get"),
    ("pods/exec", "create"),
    ("secrets", "get"),
    ("secrets", "list"),
    ("configmaps", "get"),
    ("configmaps", "create"),
    ("configmaps", "update"),
    ("serviceaccounts/token", "create"),
    ("rolebindings.rbac.authorization.k8s.io", "create"),
    ("seldondeployments.machinelearning.seldon.io", "patch"),
    ("modelrollouts.sluice.dev", "patch"),
    ("modelrollouts.sluice.dev/status", "update"),
    ("rolloutapprovals.sluice.dev", "create"),
)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_service_may_create_workflows_where_the_pipelines_run_and_nowhere_else(
    installation: Installation, account: str
) -> None:
    user = installation.account(account, installation.triggers)
    assert may(user, "create", WORKFLOWS, installation.pipelines)
    for namespace in (installation.production, installation.triggers):
        assert not may(user, "create", WORKFLOWS, namespace)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(("resource", "verb"), REFUSED)
def test_a_service_may_do_nothing_else(installation: Installation, account: str, resource: str, verb: str) -> None:
    user = installation.account(account, installation.triggers)
    for namespace in (installation.production, installation.pipelines, installation.triggers):
        assert not may(user, verb, resource, namespace), namespace


@pytest.mark.parametrize("account", ACCOUNTS)
def test_without_the_rule_no_workflow_may_be_created(installation: Installation, account: str) -> None:
    """This test changes the Role and restores it, so that the rule is known to be needed."""
    role = installation.triggers
    rules = kubectl("get", "role", role, "-n", installation.pipelines, "-o", "jsonpath={.rules}").out
    user = installation.account(account, installation.triggers)
    emptied = kubectl("patch", "role", role, "-n", installation.pipelines, "--type=merge", "-p", '{"rules": []}')
    assert emptied.succeeded, emptied.error
    try:
        assert not may(user, "create", WORKFLOWS, installation.pipelines)
    finally:
        kubectl("patch", "role", role, "-n", installation.pipelines, "--type=merge", "-p", f'{{"rules": {rules}}}')
    assert may(user, "create", WORKFLOWS, installation.pipelines)


def test_the_pods_meet_the_restricted_level(installation: Installation) -> None:
    """The API server checks the template of each Deployment, and would warn."""
    for name in ACCOUNTS:
        (item,) = [
            one
            for one in installation.build("overlays/triggers")
            if one["kind"] == "Deployment" and one["metadata"]["name"] == name
        ]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "trial", "namespace": installation.triggers},
            "spec": item["spec"]["template"]["spec"],
        }
        result = kubectl("create", "--dry-run=server", "-f", "-", given=pod)
        assert result.succeeded, result.error


def test_steps_of_a_pipeline_cannot_read_the_keys_of_the_webhook(installation: Installation) -> None:
    user = installation.account("sluice-pipeline", installation.pipelines)
    for verb, resource in (("get", "secrets"), ("create", "pods"), ("list", "secrets")):
        assert not may(user, verb, resource, installation.triggers)


def test_the_api_server_accepts_argos_event_binding(installation: Installation) -> None:
    skip_unless_registered(installation, EVENT_BINDINGS)
    items = [
        item
        for file in ("binding.yaml", "account.yaml")
        for item in yaml.safe_load_all((MANIFESTS / "components" / "event-binding" / file).read_text())
    ]
    for item in items:
        item["metadata"]["namespace"] = installation.pipelines
    for subject in items[-1]["subjects"]:
        subject["namespace"] = installation.pipelines
    result = installation.apply(items, "--dry-run=server")
    assert result.succeeded, result.error
