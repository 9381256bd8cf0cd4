"""A run's warnings are shown in every form of the report, where the run is approved, and while the run is not complete."""

from __future__ import annotations

import dataclasses
import json
import sys
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import report_records
from rich.console import Console
from rich.prompt import Confirm

from sluice.cli.work import running
from sluice.engines.local.runs import assemble_run
from sluice.report.record_reader import parse_run, read_run
from sluice.report.renderers.html import render_html
from sluice.report.renderers.junit import render_junit
from sluice.report.renderers.markdown import render_markdown
from sluice.report.renderers.terminal import render_terminal
from sluice.report.results import Act, Report
from sluice.run_warnings import RunWarning
from sluice.steps.records import RUN_FOLDER_VARIABLE, read_warnings, record_warnings

if TYPE_CHECKING:
    from pathlib import Path

ONE = RunWarning(kind="leaking-feature", text="the feature 'x' <b>alone</b> separates", hint="Check [red]x[/].")
OTHER = RunWarning(kind="old-holdout", text="the holdout is old", hint="Rotate it.")


def render_all(raw: dict[str, Any]) -> dict[str, str]:
    report = Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=parse_run(raw)),))
    out = StringIO()
    Console(file=out, width=200).print(render_terminal(report))
    return {
        "terminal": out.getvalue(),
        "markdown": render_markdown(report),
        "html": render_html(report),
        "junit": render_junit(report),
    }


def test_every_form_of_the_report_shows_each_warning_as_text() -> None:
    forms = render_all(report_records.story_run(1) | {"warnings": [ONE.to_dict(), OTHER.to_dict()]})
    for name, text in forms.items():
        assert "the holdout is old. Rotate it." in text, name
        assert "arning" in text, name
    assert "<b>alone</b>" in forms["terminal"]
    assert "Check [red]x[/]." in forms["terminal"]
    assert all("<b>alone" not in forms[name] for name in ("markdown", "html", "junit"))


def test_a_run_without_warnings_says_nothing_about_them() -> None:
    forms = render_all(report_records.story_run(1))
    assert all("arning:" not in forms[name] for name in ("terminal", "markdown", "junit"))
    assert "<b>Warning</b>" not in forms["html"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record the warnings of two steps."""
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    record_warnings("train", [ONE])
    record_warnings("model-tests", [OTHER])
    return tmp_path


def test_the_record_of_a_run_has_the_warnings_of_all_steps(run: Path) -> None:
    expected = [OTHER.to_dict(), ONE.to_dict()]
    assert read_warnings(run) == expected
    assert [dataclasses.asdict(RunWarning.from_dict(one.model_dump())) for one in read_run(run).warnings] == expected
    (run / "run.json").write_text(json.dumps({"id": "r", "outcome": "running"}))
    assert assemble_run(run, succeeded=True)["warnings"] == expected
    assert [one.kind for one in read_run(run).warnings] == ["old-holdout", "leaking-feature"]


def test_the_question_for_approval_comes_after_the_warnings(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "parts" / "release.json").write_text(json.dumps({"number": 2, "digest": "sha256:" + "b" * 64}))
    out = StringIO()

    def ask(*_: object, **__: object) -> bool:
        assert "the holdout is old. Rotate it." in out.getvalue()
        assert "Check [red]x[/]." in out.getvalue()
        return False

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", ask)
    monkeypatch.setattr(running, "_show_expected_time", lambda *_: None)
    monkeypatch.setattr(running, "_show_condemnation", lambda *_: None)
    laptop: Any = SimpleNamespace(settings=SimpleNamespace(rollout=SimpleNamespace(in_cluster=False)))
    running.answer_approval(laptop, run, Console(file=out, width=200), approver="")
    assert (run / "refused-by.txt").exists()


def test_a_step_prints_its_warnings_because_a_cluster_has_only_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    record_warnings("train", [OTHER])
    assert capsys.readouterr().err == "warning: the holdout is old\nnext: Rotate it.\n"
    assert not list(tmp_path.iterdir())
