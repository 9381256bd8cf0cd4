"""A project with a monitor and a webhook, a clock that the test moves, and a starter that records what it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trigger_services import ManualClock, RecordingStarter, make_project

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def starter() -> RecordingStarter:
    return RecordingStarter()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("SLUICE_STATE", raising=False)
    return make_project(tmp_path)
