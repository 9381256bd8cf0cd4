"""Test the engine for Argo on a real API server with Argo's CustomResourceDefinitions: `make test-cluster`, with $KUBECONFIG.

Argo's controller is not needed: the tests write the status of a Workflow as the controller would. Where a controller watches the
namespace of these tests, it would change their objects, so the namespace has a name of its own.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.engines.argo.engine import ArgoEngine

TOML = """
[project]
name = "shop"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "shop_flows:load"
label = "y"
id = "id"
[model]
build = "shop_flows:build"
[pipelines]
train = "shop_flows:train"
[engines]
default = "argo"
[schedule]
pipeline = "train"
cron = "0 6 * * 1"
timezone = "Europe/Berlin"
[schedule.arguments]
rows = 500
"""

FLOWS = """
from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fit(snapshot: str, rows: int) -> str:
    return snapshot


@dsl.pipeline(name="train")
def train(snapshot: str = "", rows: int = 100):
    fit(snapshot=snapshot, rows=rows)
"""


def find_missing() -> str:
    """Return what the tests need and do not have; empty if nothing is missing."""
    import os

    from kubernetes import client, config

    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    try:
        config.load_kube_config()
        crds = client.ApiextensionsV1Api().list_custom_resource_definition(_request_timeout=10).items
    except Exception as error:  # noqa: BLE001 - any error means that there is no cluster to test on
        return f"the cluster of KUBECONFIG does not answer: {str(error)[:200]}"
    names = {crd.metadata.name for crd in crds}
    needed = ("workflows", "workflowtemplates", "cronworkflows")
    absent = [name for name in needed if f"{name}.argoproj.io" not in names]
    return f"the cluster has no resource {absent[0]}.argoproj.io" if absent else ""


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """Create a namespace, and delete it at the end."""
    if missing := find_missing():
        pytest.skip(f"tests of the engine on a cluster: {missing}")
    from kubernetes import client

    name = f"sluice-engines-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    yield name
    core.delete_namespace(name)


@pytest.fixture
def shop(tmp_path: Path, namespace: str) -> Project:
    """Return a project with one small pipeline. Each test has a project of another name, so that it has its own objects."""
    own = f"shop-{uuid.uuid4().hex[:6]}"
    text = TOML.replace('name = "shop"', f'name = "{own}"') + f'[argo]\nnamespace = "{namespace}"\n'
    (tmp_path / "sluice.toml").write_text(text)
    (tmp_path / "shop_flows.py").write_text(FLOWS)
    for name in ("rows.csv", "holdout.csv"):
        (tmp_path / name).write_text(f"id,y\n{name},1\n")
    return read_project(tmp_path)


@pytest.fixture
def engine(shop: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArgoEngine]:
    """Return the engine of the project, without modules of another test's project."""
    import sys

    from sluice.engines.argo.engine import open_argo

    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("shop_flows", None)
    yield open_argo(shop)
    sys.modules.pop("shop_flows", None)


@pytest.fixture
def write_status(engine: ArgoEngine) -> Any:
    """Return a function that writes the status of a run as Argo's controller does."""
    from sluice.engines.argo.api_server import WORKFLOW

    def write(run: str, status: dict[str, Any]) -> None:
        engine.api.merge(WORKFLOW, run, {"status": status})

    return write
