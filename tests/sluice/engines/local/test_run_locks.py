"""A run whose processes are gone is shown as cut off, and a run of another process is not."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from sluice.cli import app
from sluice.engines.local.engine import LocalEngine
from sluice.engines.local.run_locks import is_held
from sluice.engines.local.runs import find_run_with_same_inputs, read_run, start_record, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def start(project: Project) -> tuple[Path, int]:
    """Create a run, and return its folder and the descriptor that says that it is still there."""
    return start_record(project, "good", {"snapshot": ""})


def test_a_run_is_running_until_the_last_descriptor_is_closed(small_project: Project) -> None:
    run, held = start(small_project)
    (run / "events.jsonl").write_text(json.dumps({"time": 12.0, "step": "train", "event": "started", "detail": ""}) + "\n")
    inherited = os.dup(held)
    os.close(held)  # as if the process that started the run was killed
    assert is_held(run)
    assert read_run(run)["outcome"] == "running"
    os.close(inherited)
    assert not is_held(run)
    found = read_run(run)
    assert (found["outcome"], found["ended"]) == ("cut_off", 12.0)
    assert found["reason"].startswith("its processes ended during the step train without a word")
    assert found["steps"][0] == {
        "name": "train",
        "outcome": "interrupted",
        "started": 12.0,
        "ended": 12.0,
        "detail": "",
    }
    assert find_run_with_same_inputs(small_project, found["inputs"]) is None


def test_a_run_that_ended_properly_is_never_cut_off(small_project: Project) -> None:
    run, held = start(small_project)
    write_run(run, read_run(run) | {"outcome": "passed", "ended": 3.0})
    os.close(held)
    assert read_run(run)["outcome"] == "passed"


def test_a_run_that_was_cut_off_before_its_first_step_ended_when_it_started(small_project: Project) -> None:
    run, held = start(small_project)
    os.close(held)
    found = LocalEngine(small_project).read(run.name)
    assert (found.summary.outcome, found.summary.seconds, found.steps) == ("cut_off", 0.0, ())
    assert "its processes ended without a word" in found.reason


def test_the_list_of_runs_says_cut_off(small_project: Project) -> None:
    run, held = start(small_project)
    os.close(held)
    done = CliRunner().invoke(app, ["runs", "--engine", "local", "--project", str(small_project.root)])
    assert done.exit_code == 0, done.output
    assert run.name in done.output
    assert "cut off" in done.output
