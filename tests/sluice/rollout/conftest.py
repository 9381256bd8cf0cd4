from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rollout_backends import Backends

from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.project.tables.data import DataTable
from sluice.project.tables.model import ModelTable
from sluice.project.tables.project import ProjectTable
from sluice.project.tables.rollout import RolloutTable
from sluice.project.tables.serving import ServingTable
from sluice.rollout.requests import approvals, starts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rollout_backends import Backend


@pytest.fixture
def backends(tmp_path: Path) -> Backends:
    return Backends(tmp_path / "backends")


@pytest.fixture
def spawned(backends: Backends) -> Iterator[list[Backend]]:
    """Servers that end with the test."""
    running: list[Backend] = []
    yield running
    for backend in running:
        backend.stop()


@pytest.fixture
def gate_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the check of the gate, because the releases of these tests exist in no release store."""
    for module in (starts, approvals):
        monkeypatch.setattr(module, "check_gate", lambda _project, _digest: None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with fast rollouts: two steps, a short bake, and a margin of 5 percentage points at 60 requests."""
    settings = Settings(
        project=ProjectTable(name="quick"),
        data=DataTable(snapshot="s", holdout="h", load="m:f", label="l", id="i"),
        model=ModelTable(build="m:f"),
        serving=ServingTable(port=0, start_timeout_seconds=120.0),
        rollout=RolloutTable(
            steps=[20, 100], margin=0.05, first_look=60, bake_seconds=0.3, deadline_seconds=600.0, request_timeout_seconds=5.0
        ),
    )
    return Project(tmp_path / "project", settings)
