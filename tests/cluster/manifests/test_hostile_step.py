"""Hostile code in the training step, on a real Argo, can neither approve, request, promote, write the ledger nor read a key."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from argo_runs_of_manifests import STORE, STORE_KEYS, add_artifact_store, make_project, read_log, run_to_end, running_controller
from manifests_cluster import kubectl

from sluice.kubernetes_calls import POD_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests_cluster import Installation

CODE = Path(__file__).with_name("hostile_code.py").read_text(encoding="utf-8")
IMAGE = os.environ.get("SLUICE_TEST_PYTHON_IMAGE", "python:3.11-slim")
PIPELINE = """
from kfp import dsl, kubernetes

CODE = {code!r}


@dsl.container_component
def train({model}report: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image={image!r}, command=["sh", "-c", {script!r}, CODE, {given!r}, report{path}])


@dsl.container_component
def control(report: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image={image!r}, command=["sh", "-c", {script!r}, CODE, {given!r}, report])


@dsl.container_component
def link(text: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image={image!r}, command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; ln -s {token} "$0"', text])


@dsl.container_component
def thief(text: str, report: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image={image!r}, command=["sh", "-c", {script!r}, CODE, {given!r}, report, "", text])


@dsl.pipeline(name="hostile")
def hostile():
    linked = link()
    for task in (train(), control(), linked, thief(text=linked.outputs["text"])):
        kubernetes.set_security_context(task, run_as_user=10001, run_as_group=10001)
"""
SCRIPT = """
for file in "$2" $3; do mkdir -p "$(dirname "$file")"; echo done >"$file"; done
exec python3 -c "$0" "$1" $4
"""
REFUSED = {401, 403}


@dataclass
class Secrets:
    """Secrets that no step may read, each with a text of its own."""

    installation: Installation
    texts: dict[str, str] = field(default_factory=dict)
    places: list[tuple[str, str]] = field(default_factory=list)

    def add(self, namespace: str, name: str) -> None:
        """Create a Secret."""
        self.texts[name] = f"sentinel-{uuid.uuid4().hex}"
        self.places.append((namespace, name))
        item = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {"value": self.texts[name]},
        }
        applied = self.installation.apply([item])
        assert applied.succeeded, applied.error


@pytest.fixture(scope="module")
def secrets(installation: Installation) -> Secrets:
    """Create what a step must not find: the webhook's keys, the registry's password, and a signing key."""
    made = Secrets(installation)
    made.add(installation.triggers, "sluice-webhook-keys")
    made.add(installation.pipelines, "sluice-registry")
    made.add(installation.pipelines, "sluice-signing-key")
    if STORE:
        add_artifact_store(installation)
        made.places.append((installation.pipelines, "artifact-store"))
        made.texts["artifact-store"] = STORE_KEYS.partition(":")[2]
    return made


@pytest.fixture(scope="module")
def reports(
    installation: Installation, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """Run the hostile code as the training step, and as a step with the account of the gate. Yield what each of them reports."""
    if not kubectl("get", "crd", "workflows.argoproj.io").succeeded:
        pytest.skip("hostile step on Argo: the cluster has no resource workflows.argoproj.io")
    folder = tmp_path_factory.mktemp("hostile")
    accounts = {"control": "sluice-gate"}
    project = make_project(installation, folder)
    argo = project.settings.argo.model_copy(update={"service_accounts": project.settings.argo.service_accounts | accounts})
    project = type(project)(project.root, project.settings.model_copy(update={"argo": argo}))
    source = folder / "hostile.py"
    given = {
        "production": installation.production,
        "pipelines": installation.pipelines,
        "triggers": installation.triggers,
        "trials": installation.trials,
        "image": IMAGE,
        "secrets": secrets.places,
        "sentinels": {name: text[::-1] for name, text in secrets.texts.items()},
    }
    source.write_text(
        PIPELINE.format(
            code=CODE,
            image=IMAGE,
            script=SCRIPT,
            token=POD_ACCOUNT / "token",
            given=json.dumps(given),
            model="model: dsl.Output[dsl.Model], " if STORE else "",
            path=", model.path" if STORE else "",
        )
    )
    with running_controller(installation, folder / "controller.log"):
        workflow = run_to_end(installation, project, source)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        found = {}
        for step in ("train", "control", "thief"):
            lines = read_log(installation, workflow, step).splitlines()
            (line,) = [line for line in lines if line.startswith("REPORT ")]
            found[step] = json.loads(line.removeprefix("REPORT "))
        yield found


def succeeded(report: dict[str, Any]) -> set[str]:
    """Return what the API server did not refuse. A call that it would have answered otherwise (404, 409, 422) counts, too."""
    return {name for name, statuses in report["statuses"].items() if set(statuses) - REFUSED}


def test_the_training_step_finds_no_token_and_no_key(reports: dict[str, dict[str, Any]]) -> None:
    assert reports["train"]["tokens"] == []
    assert reports["train"]["secrets"] == {}


def test_the_api_server_refuses_everything_that_the_training_step_tries(reports: dict[str, dict[str, Any]]) -> None:
    assert len(reports["train"]["statuses"]) > 30
    assert succeeded(reports["train"]) == set(), reports["train"]["statuses"]


def test_the_same_code_finds_the_gates_token_and_can_do_what_the_gate_may(reports: dict[str, dict[str, Any]]) -> None:
    """This is the control: the code above would have found a token, and used it."""
    report = reports["control"]
    (place,) = report["tokens"]
    assert "serviceaccount" in place
    assert succeeded(report) == {"read the ledger", "replace the ledger", "read the journal"}
    assert 200 in report["statuses"]["replace the ledger"]
    assert report["secrets"] == {}


def test_a_link_as_an_output_gives_a_later_step_a_token_that_can_do_nothing(reports: dict[str, dict[str, Any]]) -> None:
    """Argo 4.1 follows the link in its own container. The token is bound to the Pod, which may report only its own result."""
    report = reports["thief"]
    if not report["tokens"]:
        pytest.skip("hostile step on Argo: this version of Argo does not follow a link that a step leaves as an output")
    assert succeeded(report) == set(), report["statuses"]
