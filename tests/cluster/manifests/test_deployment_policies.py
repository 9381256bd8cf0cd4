"""Test the policy on SeldonDeployments on a real API server: no release can start without an approval."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import CONTROLLER, GROUPS, NUMBERS, REQUESTER, assert_refused
from manifests_cluster import ISTIO, SELDON, kubectl, skip_unless_registered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifests_cluster import Installation, KubectlResult


def make_deployment(replicas: int = 0, **annotations: str) -> dict[str, Any]:
    """Return a SeldonDeployment with one predictor."""
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
        "metadata": {"name": f"churn-{next(NUMBERS)}", "annotations": {"sluice.dev/request": "{}", **annotations}},
        "spec": {"name": "churn", "predictors": [predictor]},
    }


def create(installation: Installation, body: Mapping[str, Any], user: str) -> KubectlResult:
    return kubectl(
        "create", "-n", installation.production, "-o", "name", "-f", "-", given=body, user=user, groups=GROUPS.get(user, ())
    )


def patch(installation: Installation, name: str, change: Mapping[str, Any], user: str) -> KubectlResult:
    flags = ["--type=merge", "-p", json.dumps(change), "-n", installation.production]
    return kubectl("patch", name, *flags, user=user, groups=GROUPS.get(user, ()))


@pytest.fixture
def created_by_pipeline(installation: Installation) -> tuple[str, str]:
    """Create a SeldonDeployment as a pipeline, and return its name and the pipeline's account."""
    skip_unless_registered(installation, SELDON, ISTIO)
    pipeline = installation.account("sluice-canary", installation.pipelines)
    result = create(installation, make_deployment(), pipeline)
    assert result.succeeded, result.error
    return result.out.strip(), pipeline


def start_with(body: dict[str, Any], change: str) -> dict[str, Any]:
    """Return a copy of a SeldonDeployment with a change that would start Pods."""
    found = copy.deepcopy(body)
    (predictor,) = found["spec"]["predictors"]
    if change == "replicas":
        predictor["replicas"] = 1
    elif change == "no replicas given":
        del predictor["replicas"]
    elif change == "replicas of a component":
        predictor["componentSpecs"][0]["replicas"] = 1
    elif change == "autoscaler":
        predictor["componentSpecs"][0]["hpaSpec"] = {"minReplicas": 1, "maxReplicas": 2}
    elif change == "separate engine":
        predictor["svcOrchSpec"] = {"replicas": 1}
    else:
        predictor["explainer"] = {"type": "AnchorTabular"}
    return found


@pytest.mark.parametrize(
    "change", ["replicas", "no replicas given", "replicas of a component", "autoscaler", "separate engine", "explainer"]
)
def test_a_new_deployment_cannot_start_a_release(
    installation: Installation, created_by_pipeline: tuple[str, str], change: str
) -> None:
    assert_refused(
        create(installation, start_with(make_deployment(), change), created_by_pipeline[1]),
        "a new SeldonDeployment must have no replicas",
    )


@pytest.mark.parametrize("key", ["sluice.dev/journal", "sluice.dev/epoch"])
def test_a_new_deployment_cannot_have_a_journal(
    installation: Installation, created_by_pipeline: tuple[str, str], key: str
) -> None:
    assert_refused(
        create(installation, make_deployment(**{key: "1"}), created_by_pipeline[1]),
        "a new SeldonDeployment must not have a journal",
    )


def test_a_requester_can_write_only_the_request_and_the_command(
    installation: Installation, created_by_pipeline: tuple[str, str]
) -> None:
    name, pipeline = created_by_pipeline
    journal = {"metadata": {"annotations": {"sluice.dev/request": '{"id": "2"}', "sluice.dev/command": "{}"}}}
    assert patch(installation, name, journal, pipeline).succeeded
    assert patch(installation, name, journal, REQUESTER).succeeded
    for change in (
        {"metadata": {"annotations": {"sluice.dev/request": None}}},
        {"metadata": {"annotations": {"sluice.dev/journal": '{"version": 9}'}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"annotations": {"sluice.dev/epoch": "1000000"}}},
        {"metadata": {"annotations": {"seldon.io/rest-timeout": "1"}}},
    ):
        assert_refused(patch(installation, name, change, pipeline), "can write only the annotations sluice.dev/request")
    spec = {"spec": {"predictors": make_deployment(replicas=1)["spec"]["predictors"]}}
    assert_refused(patch(installation, name, spec, pipeline), "only the controller changes predictors and their traffic")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
    assert_refused(patch(installation, name, {"metadata": {"ownerReferences": [owner]}}, pipeline), "must not have an owner")


def test_the_controller_can_change_predictors_and_its_annotations(
    installation: Installation, created_by_pipeline: tuple[str, str]
) -> None:
    predictors = make_deployment(replicas=1)["spec"]["predictors"]
    change = {"metadata": {"annotations": {"sluice.dev/epoch": "4"}}, "spec": {"predictors": predictors}}
    result = patch(installation, created_by_pipeline[0], change, installation.account(CONTROLLER))
    assert result.succeeded, result.error
