"""The policy on SeldonDeployments, on a real API server: nothing starts that was not approved."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from approvals_by_kubectl import CONTROLLER, GROUPS, NUMBERS, REQUESTER, refused
from manifests_cluster import ISTIO, SELDON, kubectl, needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifests_cluster import Answer, Site


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
        "metadata": {"name": f"churn-{next(NUMBERS)}", "annotations": {"sluice.dev/request": "{}", **annotations}},
        "spec": {"name": "churn", "predictors": [predictor]},
    }


def create(site: Site, body: Mapping[str, Any], user: str) -> Answer:
    return kubectl("create", "-n", site.production, "-o", "name", "-f", "-", given=body, user=user, groups=GROUPS.get(user, ()))


def patch(site: Site, name: str, change: Mapping[str, Any], user: str) -> Answer:
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
