"""The compiled pipelines run to their end although each step has an empty state folder of its own, as in a pod.

kfp.local passes the artifacts from step to step. The releases are in a real registry, and the gate's ledger and the rollout
journal on an API server. A step that reads what another step wrote to its state folder finds nothing, and the test fails. Each
step calls the API server with a token of its own, and the server refuses every call of a step whose pod has no token.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from api_server import ApiServer
from kubernetes import client
from registry_servers import PROGRAM, free_port, put_base, registry_server

from components import TOKENLESS
from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.local.engine import session_environment
from sluice.engines.results.rebuilding import StepRecord, rebuild_result
from sluice.gate.ledger import Ledger
from sluice.gate.stores.config_maps import ConfigMapStore
from sluice.project.projects import read_project
from sluice.release.registry.registry_client import RegistryClient
from sluice.rollout.decisions.states import ChampionTerm, Journal
from sluice.rollout.platforms.seldon.resources.rollout_statuses import dump_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.report.results import RunResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="these tests need a registry: apt-get install docker-registry"),
]

ROOT = Path(__file__).parents[3]
REPOSITORY = "churn/releases"
STEPS = sorted(entry.parent.name for entry in (ROOT / "components").glob("*/__init__.py"))

RUN = """
import json, sys
from kfp import local
from sluice.gate.ledger import Ledger
from sluice.gate.stores.config_maps import ConfigMapStore
from sluice.project.projects import read_project

pipeline, arguments, artifacts, pod = sys.argv[1:]
project = read_project()
function = project.load_object(project.settings.pipelines[pipeline], key=pipeline)
sys.executable = pod  # kfp.local runs each step with it
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=artifacts, raise_on_error=True)
function(**json.loads(arguments))
"""

POD = """#!/bin/sh
SLUICE_STATE=$(mktemp -d "{pods}/XXXXXX")/state
for function; do :; done
KUBECONFIG={pods}/../kubeconfigs/$function
export SLUICE_STATE KUBECONFIG
exec {python} "$@"
"""


class ClusterObjects(ApiServer):
    """The API server with a ModelRollout, and without approvals or a lease. It keeps the names of the steps that call it."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: set[str] = set()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.callers.add(self.caller)
        if self.caller in TOKENLESS:
            return self.refuse(403, "Forbidden")
        if method == "GET" and path.endswith("/rolloutapprovals"):
            return 200, {"items": []}
        return super().answer(method, path, body)

    def make_champion(self, digest: str, ledger_head: str) -> None:
        """Write into the journal that a release is the champion, as the controller does at the end of a rollout."""
        term = ChampionTerm(release=digest, by="ann", at=1.0, ledger_head=ledger_head, number=1)
        journal = dump_journal(Journal(history=(term,), weights={digest: 100}))
        self.store(200, "churn", {"metadata": {"name": "churn"}, "spec": {}, "status": {"journal": journal}})

    def champions(self) -> list[str | None]:
        """Return the champion of each question that the ledger's ConfigMap holds."""
        api = client.CoreV1Api(client.ApiClient(client.Configuration(host=self.url)))
        return [record.question.champion for record in Ledger(ConfigMapStore(api, "ledger", "pipelines")).read().questions()]


@dataclass
class Pods:
    """Where the pipelines of the example run: each step in a process with an empty state folder."""

    folder: Path
    objects: ClusterObjects
    host: str
    environment: dict[str, str]

    def run(self, pipeline: str, name: str, **arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a pipeline to its end."""
        pod = self.folder / "pod"
        pods = self.folder / "pods"
        pods.mkdir(exist_ok=True)
        pod.write_text(POD.format(pods=pods, python=sys.executable))
        pod.chmod(0o755)
        command = [
            sys.executable,
            "-c",
            RUN,
            pipeline,
            json.dumps({"snapshot": "", **arguments}),
            str(self.artifacts(name)),
            str(pod),
        ]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def artifacts(self, name: str) -> Path:
        return self.folder / "artifacts" / name

    def result(self, name: str) -> RunResult:
        """Return the result of a run, rebuilt from the records that its steps left."""
        files = sorted(self.artifacts(name).glob("*/*/record"))
        steps = tuple(StepStatus(id=file.parent.name, name=file.parent.name, outcome="pass") for file in files)
        summary = RunSummary(id=name, engine="kfp", pipeline="ci", outcome="passed")
        records = [StepRecord(step=file.parent.name, text=file.read_text()) for file in files]
        return rebuild_result(RunStatus(summary=summary, steps=steps, ended=True), records)

    def read(self, name: str, step: str, artifact: str) -> Any:
        """Return a JSON artifact of a step."""
        (file,) = self.artifacts(name).glob(f"*/{step}/{artifact}")
        return json.loads(file.read_text())


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    folder = tmp_path_factory.mktemp("pods")
    objects = ClusterObjects()
    (folder / "kubeconfigs").mkdir()
    for step in STEPS:
        context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "pipelines"}}
        config = {
            "current-context": "c",
            "contexts": [context],
            "clusters": [{"name": "c", "cluster": {"server": objects.url}}],
            "users": [{"name": "u", "user": {"token": step}}],
        }
        (folder / "kubeconfigs" / step).write_text(json.dumps(config))
    with registry_server(folder / "registry") as host:
        with RegistryClient(host, "serving", plain_http=True) as registry:
            put_base(registry, folder)
        environment = session_environment(read_project(ROOT), folder) | {
            "KUBECONFIG": str(folder / "kubeconfigs" / "approval"),
            "SLUICE_EPHEMERAL": "1",
            "SLUICE_STATE": str(folder / "never-used"),
            "SLUICE_SERVING__REPOSITORY": f"{host}/{REPOSITORY}",
            "SLUICE_SERVING__IMAGE": f"{host}/serving:latest",
            "SLUICE_SERVING__PLAIN_HTTP": "true",
            "SLUICE_GATE__CONFIG_MAP": "ledger",
            "SLUICE_ROLLOUT__SPLITTER": "seldon",
            "SLUICE_SELDON__NAMESPACE": "production",
        }
        environment.pop("SLUICE_RUN_FOLDER")
        yield Pods(folder, objects, host, environment)
    objects.server.shutdown()


def released(host: str) -> dict[str, str]:
    """Return the number of each release in the registry, with its digest."""
    with RegistryClient(host, REPOSITORY, plain_http=True) as registry:
        tags = registry.list_tags()
    layers = [tag.split("-") for tag in tags if tag.startswith("layer-")]
    assert {f"release-{number}" for _, _, number in layers} <= set(tags)
    return {number: f"sha256:{digits}" for _, digits, number in layers}


def _check_result(found: RunResult, release: str) -> None:
    """Check that the records of the steps make the whole result of a run, with nothing missing."""
    assert [layer.layer for layer in found.layers] == ["code", "data", "model", "integration"]
    assert all(layer.verdicts for layer in found.layers)
    assert found.gate is not None
    assert found.gate.first
    assert found.release is not None
    assert (found.release.digest, found.release.number) == (release, 1)
    assert found.curves is not None
    assert found.curves.challenger is not None
    assert found.snapshot is not None
    assert found.snapshot.source == "data/customers.parquet"
    details = {step.name: step.detail for step in found.steps}
    assert details["package"].startswith(f"release 1, {release[:19]}; the serving image "), "the image of this test has no label"
    assert all(details.values()), details
    assert found.notes == ()


def test_ci_retrain_and_drift_run_to_their_end_and_find_release_champion_and_reference(pods: Pods, tmp_path: Path) -> None:
    # The first run packages a release, and the integration tests find it in the registry.
    first = pods.run("ci", "first")
    assert first.returncode == 0, first.stdout + first.stderr
    (release,) = released(pods.host).values()
    assert pods.read("first", "integration-tests", "verdicts")["outcome"] == "pass"
    head = pods.read("first", "gate", "decision")["ledger_head"]
    assert pods.objects.champions() == [None]
    pods.objects.make_champion(release, head)
    _check_result(pods.result("first"), release)

    # In the second run, the gate finds the champion and scores it in the environment of the step, as the step image does.
    pods.environment["SLUICE_SERVING__PYTHON"] = "no-such-environment/bin/python"
    second = pods.run("ci", "second")
    assert second.returncode == 0, second.stdout + second.stderr
    assert pods.objects.champions() == [None, release]
    assert pods.read("second", "gate", "decision")["promote"] is False, "the same data give no better model"
    again = pods.result("second")
    assert again.curves is not None
    assert again.curves.champion is not None, "the record has the champion's curves, which no other artifact has"
    assert list(released(pods.host)) == ["1"], "a kept champion makes no release"

    # A retraining finds that the champion in the registry was made from the same snapshot and code, and trains nothing.
    for pipeline, steps in (("retrain", {"pin-snapshot"}), ("drift", {"pin-snapshot", "pin-reference"})):
        unchanged = pods.run(pipeline, f"unchanged-{pipeline}")
        assert unchanged.returncode == 0, unchanged.stdout + unchanged.stderr
        assert {entry.parent.name for entry in pods.artifacts(f"unchanged-{pipeline}").glob("*/*/*")} == steps

    # The drift step finds the champion's reference, although the training data are not where they were.
    newer = pd.read_parquet(ROOT / "data" / "holdout.parquet")
    newer.to_parquet(tmp_path / "newer.parquet")
    pods.environment["SLUICE_DATA__SNAPSHOT"] = str(tmp_path / "newer.parquet")
    drift = pods.run("drift", "drift", reference="")
    assert drift.returncode == 0, drift.stdout + drift.stderr
    found = pods.read("drift", "drift", "report")
    assert found["outcome"] == "steady", found["detail"]
    assert found["reference_rows"] == len(pd.read_parquet(ROOT / "data" / "customers.parquet"))
    assert pods.read("drift", "pin-reference", "snapshot")["format"] == "sluice-drift-reference"

    # Every step had a state folder of its own.
    folders = [entry for entry in (pods.folder / "pods").iterdir() if entry.is_dir()]
    assert len(folders) == 9 + 7 + 1 + 2 + 3
    assert not (pods.folder / "never-used").exists()

    # The steps that run a model or the project's code made no call to Kubernetes. Only these steps made any.
    assert pods.objects.callers - {""} == {"pin_snapshot", "pin_reference", "gate", "package"}
    assert set(STEPS) > TOKENLESS


def test_a_registry_that_is_down_ends_the_step_with_an_error_that_names_it(pods: Pods) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", "from sluice.steps.production import wait_for_approval as wait; wait('sha256:' + '0' * 64)"]
    environment = pods.environment | {
        "SLUICE_SERVING__REPOSITORY": f"{nowhere}/{REPOSITORY}",
        "SLUICE_STATE": str(pods.folder / "x"),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"the registry {nowhere} does not answer the request for tags/list of {REPOSITORY}" in done.stderr, os.fspath(ROOT)
