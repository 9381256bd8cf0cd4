"""The fixtures of a trained project and its release, and a project that is only settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from release_fixtures import layer, trained

from sluice.project.projects import Project, read_project
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
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


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    return read_project(tmp_path)
