"""What `sluice rollout status`, `history` and `start` show of a rollout that failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rollout_backends import name_release
from typer.testing import CliRunner

from sluice.cli.production.rollouts import app
from sluice.project.projects import read_project
from sluice.rollout.decisions.failures import ErrorKind, FailureSummary
from sluice.rollout.decisions.states import EndedRollout, Journal, Phase, Transition
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from pathlib import Path

B = name_release("b")
SETTINGS = """\
[project]
name = "quick"
[data]
snapshot = "s"
holdout = "h"
load = "m:f"
label = "l"
id = "i"
[model]
build = "m:f"
"""
FAILURE = FailureSummary(
    errors=(ErrorKind(kind="KeyError in model.py:7 (predict)", count=12, text="'…' [bold]", example="plan: text"),),
    statuses={"500": 12},
    log=("KeyError",),
)
LINES = (
    "KeyError in model.py:7 (predict), 12 times: '…' [bold]",
    "first input: plan: text",
    "failed answers: 12 with 500",
    "log: KeyError",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose last rollout was rolled back."""
    (tmp_path / "sluice.toml").write_text(SETTINGS)
    moved = Transition(
        time=2.0, from_state="step-1", to_state="rolled_back", reason="e-value 120", rollout="r", release=B, decided_at=2.0
    )
    ended = EndedRollout(
        id="r",
        release=B,
        stable=None,
        outcome=Phase.ROLLED_BACK,
        reason="e-value 120",
        by="ci",
        started=1.0,
        ended=2.0,
        failure=FAILURE,
    )
    journal = Journal(transitions=(moved,), rollouts=(ended,))
    open_journal(read_project(tmp_path)).update(lambda _: journal)
    return tmp_path


@pytest.mark.parametrize("command", ["status", "history"])
def test_people_and_programs_see_what_failed(folder: Path, command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--project", str(folder)], env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.output
    for line in LINES:
        assert line in shown.output
    document = json.loads(CliRunner().invoke(app, [command, "--project", str(folder), "--output", "json"]).stdout)
    data = document["data"] if command == "status" else document["data"]["transitions"][-1]
    assert tuple(data["failure"]["lines"]) == LINES
    assert data["failure"]["statuses"] == {"500": 12}


def test_start_explains_what_again_is_for() -> None:
    shown = CliRunner().invoke(app, ["start", "--help"], env={"COLUMNS": "200"})
    assert "--again" in shown.output
    assert "Why a condemned release is rolled out again" in shown.output
