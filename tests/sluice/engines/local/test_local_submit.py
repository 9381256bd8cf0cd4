"""The commands about runs with the local engine: `submit`, `runs`, `logs`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluice.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.project.projects import Project


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test import the pipelines of its own project."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("small_flows", None)
    yield
    sys.modules.pop("small_flows", None)


def invoke(project: Project, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments, "--project", str(project.root)])
    return done.exit_code, done.output


def lead_nowhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the addresses of KFP and of Argo to a port at which nobody answers."""
    (project.root / "token").write_text("t")
    nowhere = "http://127.0.0.1:9"
    settings = {
        "SLUICE_KFP__ENDPOINT": nowhere,
        "SLUICE_ARGO__SERVER": nowhere,
        "SLUICE_ARGO__TOKEN_FILE": str(project.root / "token"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_a_list_of_all_runs_has_a_line_for_each_engine_that_does_not_answer(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_nowhere(small_project, monkeypatch)
    code, text = invoke(small_project, "runs", "--output", "json")
    assert (code, sorted(json.loads(text)["data"]["unreachable"])) == (0, ["argo", "kfp"])


def test_a_list_without_a_schedule_names_the_engine_that_was_asked(small_project: Project) -> None:
    code, text = invoke(small_project, "schedule", "list")
    assert code == 0
    assert "The engine local has no schedules." in text
    data = json.loads(invoke(small_project, "schedule", "list", "--output", "json")[1])["data"]
    assert data == {"engine": "local", "schedules": []}


def test_a_local_run_is_watched_listed_shown_and_has_its_log(small_project: Project) -> None:
    code, text = invoke(small_project, "submit", "good", "--engine", "local", "--arg", "snapshot=rows.csv")
    assert code == 0, text
    assert "passed" in text
    code, text = invoke(small_project, "runs", "--engine", "local", "--output", "json")
    (run,) = json.loads(text)["data"]["runs"]
    assert (run["engine"], run["pipeline"], run["outcome"]) == ("local", "good", "passed")
    assert run["seconds"] > 0
    code, text = invoke(small_project, "runs", "show", run["id"], "--output", "json")
    assert [step["outcome"] for step in json.loads(text)["data"]["steps"]] == ["pass", "pass"]
    code, text = invoke(small_project, "logs", run["id"])
    assert code == 0
    assert "good" in text
    assert invoke(small_project, "runs", "cancel", run["id"], "--yes")[0] == 0
    assert invoke(small_project, "runs", "watch", run["id"])[0] == 0


@pytest.mark.slow
def test_a_failed_run_exits_with_the_code_of_its_step_and_prints_its_log(small_project: Project) -> None:
    code, text = invoke(small_project, "submit", "failing", "--engine", "local")
    assert code == 4
    assert "check auc failed: 0.61 < 0.80" in text
    assert "log of fail-check" in text
    assert "look at the page" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("submit", "nightly"), 2, "neither a pipeline of this project"),
        (("submit", "good", "--engine", "local", "--no-start"), 2, "--no-start only brings the pipeline to a cluster"),
        (("submit", "good", "--arg", "speed=1"), 2, "has no parameter 'speed'"),
        (("schedule", "apply"), 2, "schedule.pipeline is 'retrain'"),
        (("schedule", "pause"), 3, "the local engine has no schedules"),
        (("runs", "--engine", "kfp"), 5, "does not answer"),
        (("runs", "--engine", "argo"), 5, "does not answer"),
        (("logs", "20261130-051007-1f2e", "--engine", "local"), 2, "there is no local run '20261130-051007-1f2e'"),
    ],
)
def test_a_mistake_is_one_error_with_its_exit_code(
    small_project: Project, arguments: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_nowhere(small_project, monkeypatch)
    done = CliRunner().invoke(app, [*arguments, "--project", str(small_project.root)], standalone_mode=False)
    assert done.exception is not None
    assert message in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == code


def test_a_dry_run_starts_nothing(small_project: Project) -> None:
    code, text = invoke(small_project, "submit", "good", "--dry-run")
    assert (code, "would submit" in text) == (0, True)
    assert not (small_project.state / "runs").exists()
