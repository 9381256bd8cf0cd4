"""The fixtures of a trained project and its release, and a project that is only settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from forked_programs import run_forked
from gate_project import GateProject
from release_fixtures import layer, trained

from sluice.project.projects import Project, read_project
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["layer", "trained"]

TOML = """
[project]
name = "tiny"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "tiny_model:load"
label = "y"
id = "id"
[model]
build = "tiny_model:build"
"""


LIBRARIES = ("pandas", "pyarrow.parquet", "sklearn.linear_model", "sklearn.pipeline", "httpx")


@pytest.fixture(autouse=True)
def _score_in_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that score a release share the imports of libraries, which take two seconds each time."""

    def run(command: Sequence[str], *, env: Mapping[str, str], cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        return run_forked(command, modules=LIBRARIES, cwd=cwd, env=env)

    monkeypatch.setattr("sluice.scoring.release_scores.subprocess", SimpleNamespace(run=run))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def toy(folder: Path) -> GateProject:
    """A project whose champion uses both columns."""
    project = GateProject(folder)
    project.promote(project.ask(project.train("champion", ("a", "b"))))
    return project


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    return read_project(tmp_path)
