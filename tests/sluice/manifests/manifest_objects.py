"""The objects of manifests/: as kustomize builds them, and as the files contain them."""

from __future__ import annotations

import functools
import pickle
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "manifests"
BUILDS = (
    "base",
    "crds",
    "overlays/production",
    "overlays/production/serving",
    "overlays/argo",
    "overlays/kfp",
    "overlays/triggers",
    "dashboards",
    "alerts",
)


@functools.cache
def _build(folder: Path) -> str:
    ended = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def build(name: str | Path) -> list[dict[str, Any]]:
    """Build a folder with `kubectl kustomize` and return its objects. If kubectl is not installed, skip the test."""
    if shutil.which("kubectl") is None:
        pytest.skip("manifests: kubectl is not installed, so kustomize cannot build them")
    return parse(_build(MANIFESTS / name))


@functools.cache
def _parse(text: str) -> bytes:
    return pickle.dumps(list(yaml.safe_load_all(text)))


def parse(text: str) -> list[dict[str, Any]]:
    """Return the objects of a text. Each caller may change its own, and a text is parsed once, because that takes long."""
    found: list[dict[str, Any]] = pickle.loads(_parse(text))  # noqa: S301 - it comes from the function above
    return found


def read_files() -> list[tuple[Path, dict[str, Any]]]:
    """Return every Kubernetes object in the files."""
    return [
        (path.relative_to(MANIFESTS), item)
        for path in sorted(MANIFESTS.rglob("*.yaml"))
        for item in parse(path.read_text(encoding="utf-8"))
        if item["kind"] not in {"Kustomization", "Component"}
    ]


def find(kind: str, name: str) -> dict[str, Any]:
    """Return one object from the files."""
    (found,) = [item for _, item in read_files() if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def read_settings(overlay: str) -> dict[str, Any]:
    """Return the settings of sluice.toml that the comment of an overlay names."""
    lines = (MANIFESTS / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return tomllib.loads("\n".join(comment[comment.index("sluice.toml:") + 1 :]))
