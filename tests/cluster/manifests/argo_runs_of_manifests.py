"""Run a pipeline on Argo in the namespace that manifests/overlays/argo made, with the settings that the overlay names."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from manifests_cluster import MANIFESTS, kubectl

from sluice.engines.compiling import argo_options, compile_to_argo
from sluice.engines.sources import read_source
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifests_cluster import Installation

CONTROLLER = os.environ.get("SLUICE_TEST_ARGO_CONTROLLER", "")
"""Argo's program `workflow-controller`, which these tests start. Empty if a controller watches all namespaces."""

EXECUTOR_IMAGE = os.environ.get("SLUICE_TEST_ARGO_EXECUTOR_IMAGE", "quay.io/argoproj/argoexec:v4.1.2")
STORE = os.environ.get("SLUICE_TEST_S3", "")
"""Host and port of an S3 store with the bucket `artifacts`, over HTTP. Without one, the pipelines have no artifacts."""

STORE_KEYS = os.environ.get("SLUICE_TEST_S3_KEYS", "admin:adminadmin")
PATIENCE = 60.0
"""Time in seconds in which a controller must have taken a Workflow."""

GUARD = 600.0
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 8737,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
TOML = """
[project]
name = "shop"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "m:f"
label = "y"
id = "id"
[model]
build = "m:f"
"""


def read_documented_settings(installation: Installation) -> str:
    """Return the settings that the comment of the overlay names, with this session's names."""
    lines = (MANIFESTS / "overlays" / "argo" / "kustomization.yaml").read_text().splitlines()
    comment = [line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#")]
    start = next(number for number, line in enumerate(comment) if line.startswith("sluice.toml"))
    text = installation.rename("\n".join(line.strip() for line in comment[start + 1 :]))
    assert set(tomllib.loads(text)) == {"argo", "serving", "gate"}
    return text


def make_project(installation: Installation, folder: Path, **argo: Any) -> Project:
    """Write a project with the settings of the overlay, and more of the table [argo]."""
    values = tomllib.loads(TOML + read_documented_settings(installation))
    values["argo"] |= {"security": "restricted", **argo}
    if STORE:
        values["argo"] |= {"artifact_repository": "artifact-repositories/store", "artifact_root": "s3://artifacts/hostile"}
    project = read_project(_write_files(folder))
    return Project(project.root, type(project.settings)(**values))


def _write_files(folder: Path) -> Path:
    (folder / "sluice.toml").write_text(TOML)
    for name in ("rows.csv", "holdout.csv"):
        (folder / name).write_text(f"id,y\n{name},1\n")
    return folder


def add_artifact_store(installation: Installation) -> None:
    """Tell Argo about the store, with its keys in a Secret of the pipelines' namespace."""
    user, _, key = STORE_KEYS.partition(":")
    names = ("accessKeySecret", "secretKeySecret")
    keys = {name: {"name": "artifact-store", "key": name.removesuffix("Secret")} for name in names}
    repository = {"bucket": "artifacts", "endpoint": STORE, "insecure": True, "region": "us-east-1", **keys}
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "artifact-store"},
            "stringData": {"accessKey": user, "secretKey": key},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "artifact-repositories"},
            "data": {"store": yaml.safe_dump({"s3": repository})},
        },
    ]
    for item in objects:
        item["metadata"]["namespace"] = installation.pipelines  # type: ignore[index]
    applied = installation.apply(objects)
    assert applied.succeeded, applied.error


@contextlib.contextmanager
def running_controller(installation: Installation, log: Path) -> Iterator[None]:
    """Start Argo's controller for the namespace of the pipelines, if the environment names its program."""
    if not CONTROLLER:
        yield
        return
    settings = yaml.safe_dump({"metricsConfig": {"enabled": False}, "executor": {"securityContext": RESTRICTED}})
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": installation.pipelines},
        "data": {"config": settings},
    }
    applied = installation.apply([config])
    assert applied.succeeded, applied.error
    command = [CONTROLLER, "--namespaced", "-n", installation.pipelines, "--managed-namespace", installation.pipelines]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--executor-image", EXECUTOR_IMAGE],
            env=os.environ | {"LEADER_ELECTION_DISABLE": "true"},
            stdout=output,
            stderr=output,
        )
        try:
            yield
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.terminate()
            process.wait(30)


def run_to_end(installation: Installation, project: Project, source: Path) -> dict[str, Any]:
    """Compile a pipeline, start it, wait until it has ended, and return the Workflow."""
    _, pipeline = read_source(str(source), project)
    document = yaml.safe_load(compile_to_argo(pipeline, argo_options(project)))
    made = kubectl("create", "-n", installation.pipelines, "-o", "json", "-f", "-", given=document)
    assert made.succeeded, made.error
    name = json.loads(made.out)["metadata"]["name"]
    started = time.monotonic()
    while True:
        found: dict[str, Any] = json.loads(kubectl("get", "workflow", name, "-n", installation.pipelines, "-o", "json").out)
        phase = found.get("status", {}).get("phase", "")
        if phase in {"Succeeded", "Failed", "Error"}:
            return found
        waited = time.monotonic() - started
        if not phase and waited > PATIENCE and not CONTROLLER:
            pytest.skip(
                f"hostile step on Argo: no Argo controller took a Workflow in namespace {installation.pipelines} within "
                f"{PATIENCE:.0f} s; $SLUICE_TEST_ARGO_CONTROLLER may name its program"
            )
        assert waited < (GUARD if phase else 3 * PATIENCE), found.get("status")
        time.sleep(1)


def read_log(installation: Installation, workflow: dict[str, Any], step: str, container: str = "main") -> str:
    """Return what a container of a step printed."""
    name = workflow["metadata"]["name"]
    selector = f"workflows.argoproj.io/workflow={name}"
    pods = json.loads(kubectl("get", "pods", "-n", installation.pipelines, "-l", selector, "-o", "json").out)["items"]
    (pod,) = [
        one["metadata"]["name"]
        for one in pods
        if one["metadata"]["annotations"]["workflows.argoproj.io/node-name"].split(".")[-1].partition("(")[0] == step
    ]
    return kubectl("logs", pod, "-c", container, "-n", installation.pipelines).out
