"""No run gets a model from a cache that was trained beside another champion, or an old answer of a step that must ask again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.argo.launcher import settle, wire

COMPILED = Path(__file__).resolve().parents[3] / "pipelines" / "compiled"
PIPELINES = ["ci", "release", "retrain", "drift"]
NEVER_CACHED = {"pin-snapshot", "pin-reference", "drift", "score", "gate", "approval", "canary"}
CACHED = {"code-tests", "data-tests", "train", "model-tests", "package", "integration-tests"}


def read_tasks(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tasks of all DAGs of an IR that run a container."""
    dags = [document["root"], *document["components"].values()]
    return {name: task for one in dags for name, task in one.get("dag", {}).get("tasks", {}).items() if "condition" not in name}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_cached_steps_on_kfp(name: str) -> None:
    # KFP's key of a task names an input artifact by its id in ML Metadata. A step that is not cached makes a new artifact in each
    # run, so the key of each step that takes the snapshot is new too.
    tasks = read_tasks(next(yaml.safe_load_all((COMPILED / "kfp" / f"{name}.yaml").read_text())))
    cached = {task for task, one in tasks.items() if one.get("cachingOptions", {}).get("enableCache")}
    assert cached == CACHED & tasks.keys()
    assert tasks.keys() - cached <= NEVER_CACHED


@pytest.mark.parametrize("name", PIPELINES)
def test_the_cached_steps_on_argo(name: str) -> None:
    spec = yaml.safe_load((COMPILED / "argo" / f"{name}.yaml").read_text())["spec"]
    keys = {one["name"]: one["memoize"]["key"] for one in spec["templates"] if "memoize" in one}
    assert keys.keys() <= CACHED
    assert {"train", "model-tests"} <= keys.keys()
    assert "sprig.sha256sum(inputs.parameters.snapshot)" in keys["train"]
    assert "sprig.sha256sum(inputs.parameters.model)" in keys["model-tests"]


def test_the_key_on_argo_covers_the_champion_of_the_run() -> None:
    """The parameter in the key is the artifact as the launcher writes it, with the metadata that the step gave it."""

    def write(champion: str) -> str:
        artifact = {"name": "snapshot", "uri": "/kfp/store/same-run/same-pod/snapshot", "metadata": {}}
        return wire(settle(artifact, {"artifacts": [{"metadata": {"champion": champion}}]}))

    assert write("sha256:a") != write("sha256:b") != write("")
    assert '"champion": "sha256:a"' in write("sha256:a")
