"""The policy on results: a Pod reports the result of its own step, and no other one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from manifests_cluster import kubectl

if TYPE_CHECKING:
    from manifests_cluster import Installation

RESULTS = "workflowtaskresults.argoproj.io"
POD = "churn-release-x7k2p-train-2071435"


@pytest.fixture(scope="module")
def registered(installation: Installation) -> Installation:
    if not kubectl("get", "crd", RESULTS).succeeded:
        pytest.skip(f"manifests on a cluster: {RESULTS} is not registered")
    return installation


def report(installation: Installation, name: str, run: str, *, pod: str = POD) -> str:
    """Report a result as the account of a Pod would, without storing it, and return the error of the API server."""
    item: dict[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {"name": name, "namespace": installation.pipelines},
    }
    if run:
        item["metadata"]["labels"] = {"workflows.argoproj.io/workflow": run}
    config.load_kube_config()
    caller = client.ApiClient()
    caller.set_default_header("Impersonate-User", installation.account("sluice-pipeline", installation.pipelines))
    if pod:
        caller.set_default_header("Impersonate-Extra-authentication.kubernetes.io%2Fpod-name", pod)
    objects = client.CustomObjectsApi(caller)
    try:
        objects.create_namespaced_custom_object(
            "argoproj.io", "v1alpha1", installation.pipelines, "workflowtaskresults", item, dry_run="All"
        )
    except ApiException as error:
        return str(json.loads(str(error.body))["message"])
    return ""


def test_a_pod_reports_its_own_result(registered: Installation) -> None:
    assert report(registered, "churn-release-x7k2p-2071435", "churn-release-x7k2p") == ""


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("churn-release-x7k2p-99", "churn-release-x7k2p"),
        ("churn-release-x7k2p-2071435", ""),
        ("churn-release-x7k2p-2071435", "another"),
        ("another-2071435", "another"),
        ("churn-release-x7k2p", "churn-release-x7k2p"),
    ],
)
def test_a_pod_reports_no_other_result(registered: Installation, name: str, run: str) -> None:
    assert "may report only the result of its own step" in report(registered, name, run)


def test_a_token_that_is_bound_to_no_pod_reports_nothing(registered: Installation) -> None:
    refused = report(registered, "churn-release-x7k2p-2071435", "churn-release-x7k2p", pod="")
    assert "only a token that is bound to the Pod of a step may report a result" in refused
