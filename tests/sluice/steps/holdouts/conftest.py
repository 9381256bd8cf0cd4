"""A project with a champion whose release really exists, and with fresh labelled data."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from champions import make_first_champion
from release_project import Trained, make_rows

from sluice.project.projects import Project, read_project
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project, without a champion."""
    root = tmp_path / "parcels"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice", "__pycache__"))
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    return read_project(root)


@pytest.fixture
def champion(layer: Path, project: Project) -> str:
    """Make the release of the model the champion, and return its digest."""
    return make_first_champion(project, layer)


@pytest.fixture
def fresh(project: Project) -> pd.DataFrame:
    """Write fresh labelled data to ``fresh.parquet``: 1,500 new rows, 20 rows of the training data and 30 of the holdout."""
    rows = pd.concat([make_rows(1500, 3), pd.read_parquet(project.path("parcels.parquet")).head(20)])
    rows = pd.concat([rows, pd.read_parquet(project.path("holdout.parquet")).head(30)], ignore_index=True)
    rows.to_parquet(project.path("fresh.parquet"), index=False)
    return rows
