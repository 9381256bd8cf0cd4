"""A project with a champion whose release really exists, and with fresh labelled data."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from release_fixtures import trained
from release_project import Trained, make_rows

from sluice.data.snapshots import pin_snapshot
from sluice.project.projects import Project, read_project
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.decisions.states import ChampionTerm
from sluice.rollout.platforms.selection import open_journal
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["trained"]


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project, without a champion."""
    root = tmp_path / "parcels"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice", "__pycache__"))
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    return read_project(root)


@pytest.fixture
def champion(trained: Trained, project: Project) -> str:
    """Package the model, make its release the champion, and return its digest."""
    layer = dataclasses.replace(trained, project=project, model=project.root / "model.joblib").package()
    digest = ReleaseStore(project.state / "releases").add(layer).digest
    pin_snapshot(str(project.path("parcels.parquet")), project.state / "snapshots")
    open_journal(project).update(
        lambda journal: dataclasses.replace(
            journal, history=(ChampionTerm(release=digest, by="ann", at=1.0),), weights={digest: 100}
        )
    )
    return digest


@pytest.fixture
def fresh(project: Project) -> pd.DataFrame:
    """Write fresh labelled data to ``fresh.parquet``: 1,500 new rows, 20 rows of the training data and 30 of the holdout."""
    rows = pd.concat([make_rows(1500, 3), pd.read_parquet(project.path("parcels.parquet")).head(20)])
    rows = pd.concat([rows, pd.read_parquet(project.path("holdout.parquet")).head(30)], ignore_index=True)
    rows.to_parquet(project.path("fresh.parquet"), index=False)
    return rows
