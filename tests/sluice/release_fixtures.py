"""Fixtures: a model that was fitted in a temporary project, its model layer, and a real server of that layer."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pytest
from release_project import FEATURES, MODEL, REPOSITORY, SETTINGS, Trained, make_rows

from sluice.project.projects import read_project
from sluice.release.store.releases import ReleaseStore
from sluice.scoring.server_process import ReleaseServer, start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("parcels")
    (root / "parcels").mkdir()
    (root / "sluice.toml").write_text(SETTINGS)
    (root / "lock.txt").write_text(f"numpy=={np.__version__}\n")
    (root / "parcels" / "__init__.py").touch()
    (root / "parcels" / "model.py").write_text(MODEL)
    (root / "parcels" / "features.py").write_text(FEATURES)
    shutil.copytree(REPOSITORY / "serving", root / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    make_rows(600, 1).to_parquet(root / "parcels.parquet")
    make_rows(700, 2).to_parquet(root / "holdout.parquet")
    project = read_project(root)
    rows = pd.read_parquet(root / "parcels.parquet")
    model = project.load_object("parcels.model:build", key="model.build")()
    model.fit(rows.drop(columns=["key", "late"]), rows["late"])
    joblib.dump(model, root / "model.joblib")
    return Trained(project, root / "model.joblib", rows)


@pytest.fixture(scope="session")
def layer(trained: Trained) -> Path:
    """The unpacked layer. A test that changes it must use `layer_copy`."""
    return trained.package()


@pytest.fixture
def layer_copy(layer: Path, tmp_path: Path) -> Path:
    return shutil.copytree(layer, tmp_path / "layer", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "state" / "releases")


@pytest.fixture
def make_layer(layer_copy: Path) -> Callable[[int], Path]:
    """Make layers that differ in their manifest."""
    text = (layer_copy / "manifest.json").read_text()

    def make(number: int) -> Path:
        (layer_copy / "manifest.json").write_text(text.replace('"parent":null', f'"parent":"sha256:{number:064x}"'))
        return layer_copy

    return make


@pytest.fixture(scope="session")
def served(trained: Trained, layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleaseServer]:
    log = tmp_path_factory.mktemp("served") / "server.log"
    with start_server(trained.project, layer, f"sha256:{layer.name}", log=log) as server:
        yield server
