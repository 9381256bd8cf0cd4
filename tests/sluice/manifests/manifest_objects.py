"""The objects of manifests/: as kustomize builds them, and as they lie in the files."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "manifests"
BUILDS = ("base", "overlays/production", "overlays/production/serving", "overlays/argo", "overlays/kfp", "dashboards", "alerts")


@functools.cache
def _build(folder: Path) -> str:
    ended = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def build(name: str | Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` gives of one of our folders, or of another one; the test is skipped where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("manifests: kubectl is not installed, so nothing can be built")
    return list(yaml.safe_load_all(_build(MANIFESTS / name)))


def read_files() -> list[tuple[Path, dict[str, Any]]]:
    """Every Kubernetes object in the files themselves."""
    return [
        (path.relative_to(MANIFESTS), item)
        for path in sorted(MANIFESTS.rglob("*.yaml"))
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if item["kind"] not in {"Kustomization", "Component"}
    ]


def find(kind: str, name: str) -> dict[str, Any]:
    """One object of the files."""
    (found,) = [item for _, item in read_files() if item["kind"] == kind and item["metadata"]["name"] == name]
    return found
