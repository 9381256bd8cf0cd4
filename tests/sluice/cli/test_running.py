"""`sluice run` apart from its pipeline: the approval prompt, Ctrl-C, and a run whose inputs have not changed."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from commands import MINIMAL
from rich.console import Console
from rich.prompt import Confirm

from sluice.cli.options_and_output import Format
from sluice.cli.production import rollouts
from sluice.cli.production.rollout_facts import list_status_facts
from sluice.cli.work import running
from sluice.engines.outcomes import exit_code_of
from sluice.errors import RefusedError
from sluice.project.projects import Project, read_project
from sluice.project.tables.rollout import RolloutTable
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.decisions.states import ChampionTerm, Condemnation, Journal, Phase, Request, State
from sluice.rollout.platforms.laptop.journal_file import open_journal_file
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import starts
from sluice.rollout.requests.release_references import NamedRelease
from sluice.rollout.requests.statuses import read_status
from sluice.steps.production import wait_for_approval
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "sluice.toml").write_text(MINIMAL)
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    return read_project(tmp_path)


@pytest.fixture
def run(project: Project) -> Path:
    """Make a run that has packaged release 2."""
    folder = project.state / "runs" / "one"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "release.json").write_text(json.dumps({"number": 2, "digest": B}))
    return folder


def journal_of(project: Project, **values: Any) -> None:
    open_journal(project).update(
        lambda _: Journal(history=(ChampionTerm(release=A, by="bob", at=1.0),), weights={A: 100}, **values)
    )


def test_answering_no_at_the_prompt_rejects_the_release(project: Project, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", lambda *_, **__: False)
    monkeypatch.setattr(running.getpass, "getuser", lambda: "kim")
    running.answer_approval(project, run, Console(), approver="")
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(run))
    monkeypatch.setattr(ReleaseStore, "get", lambda *_: type("Release", (), {"number": 2}))
    with pytest.raises(SystemExit) as ended:
        wait_for_approval(B)
    assert ended.value.code == RefusedError.exit_code
    last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    assert last["error"] == "kim rejected release 2, so its rollout did not start"
    assert open_journal(project).read() == Journal()


def test_a_release_is_not_rejected_if_the_terminal_closes(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object, **__: object) -> bool:
        raise EOFError

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", gone)
    running.answer_approval(project, run, Console(), approver="")
    assert "sluice rollout approve 2" in capsys.readouterr().out
    assert not (run / "refused-by.txt").exists()


def test_in_a_cluster_nobody_is_asked_because_the_account_of_the_run_requests_the_rollout(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*_: object, **__: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", ask)
    for name in ("_show_condemnation", "_show_expected_time"):
        monkeypatch.setattr(running, name, lambda *_: None)
    table = project.settings.rollout.model_copy(update={"splitter": "seldon"})
    running.answer_approval(
        Project(project.root, project.settings.model_copy(update={"rollout": table})), run, Console(width=200), approver=""
    )
    assert "sluice rollout approve 2 by another account, which has the Role sluice-approver" in capsys.readouterr().out


def test_the_approval_prompt_shows_the_gates_answer_and_who_overrode_it(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = {
        "promote": False,
        "verdict": {"outcome": "fail", "detail": "the champion stays"},
        "override": {"model": A, "by": "ada", "why": "a column was wrong", "at": 1.0, "until": 4e9},
    }
    (run / "parts" / "release.json").write_text(json.dumps({"number": 2, "digest": B, "manifest": {"gate": gate}}))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Confirm, "ask", lambda *_, **__: False)
    running.answer_approval(project, run, Console(width=300), approver="")
    shown = capsys.readouterr().out
    assert "the champion stays; ada let the model pass the gate until" in shown
    assert "a column was wrong" in shown


def test_the_approval_prompt_says_that_the_release_was_condemned_and_why_it_was_started_again(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    condemned = (Condemnation(release=B, at=1_800_000_000.0, reason="e-value 120"),)
    request = Request(id="r", release=B, by="bob", at=2.0, steps=(5, 25, 100), again="the disk was full")
    journal_of(project, condemned=condemned, request=request)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    running.answer_approval(project, run, Console(width=300), approver="")
    assert "because e-value 120. The reason to start again: the disk was full" in capsys.readouterr().out


def test_an_undecided_run_has_the_exit_code_of_a_refusal() -> None:
    assert exit_code_of("undecided", []) == RefusedError.exit_code


@pytest.mark.parametrize(("outcome", "named"), [("kept", True), ("undecided", True), ("promoted", False)])
def test_a_run_ends_with_what_is_left_and_with_the_model_that_a_person_may_let_pass(
    run: Path, capsys: pytest.CaptureFixture[str], outcome: str, named: bool
) -> None:
    document = {"outcome": outcome, "reason": "", "gate": {"model": A, "left": 7, "budget": 52}}
    Console(width=200).print(running._table(document, run))
    shown = capsys.readouterr().out
    assert "7 of 52 questions left" in shown
    assert (A in shown) is named


def test_a_run_whose_gate_was_overridden_ends_with_the_person_and_the_reason(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = {"model": A, "by": "ada", "why": "a column [was] wrong", "at": 1.0, "until": 4e9}
    gate = {"promote": False, "verdict": {"detail": "the champion stays"}, "override": override}
    Console(width=300).print(running._table({"outcome": "promoted", "reason": "release 2 is champion", "gate": gate}, run))
    assert "the champion stays; ada let the model pass the gate until" in (shown := capsys.readouterr().out)
    assert "a column [was] wrong" in shown
    Console(width=300).print(running._table({"outcome": "promoted", "reason": "", "gate": {**gate, "override": None}}, run))
    assert "override" not in capsys.readouterr().out


def test_the_prompt_says_how_long_the_rollout_takes(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal_of(project)
    open_journal_file(project).write_status({"evidence": {"requests_per_second": 100.0}})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    running.answer_approval(project, run, Console(), approver="")
    shown = capsys.readouterr().out
    assert "step-1 (5 %): 300 requests, about 60 s" in shown
    assert "together about 2.2 min at 100 requests a second" in shown


def test_the_prompt_says_that_a_number_of_requests_needs_measured_traffic(
    project: Project, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal_of(project)
    rollout = RolloutTable(steps=["300 requests", 100])
    counted = Project(project.root, project.settings.model_copy(update={"rollout": rollout}))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    running.answer_approval(counted, run, Console(width=200), approver="")
    assert "no traffic was measured yet" in capsys.readouterr().out


def test_a_dry_run_of_the_start_says_how_long_each_step_takes(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal_of(project)
    open_journal_file(project).write_status({"evidence": {"requests_per_second": 10.0}})
    monkeypatch.setattr(starts, "check_request", lambda *_, **__: None)
    monkeypatch.setattr(rollouts, "find_release", lambda *_: NamedRelease(B, 2))
    rollouts.start("2", dry_run=True, output=Format.JSON, project_folder=project.root)
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["steps"] == [5, 25, 100]
    assert data["expected"][0] == "step-1 (5 %): 300 requests, about 10 min"
    rollouts.start("2", dry_run=True, output=Format.TABLE, project_folder=project.root)
    assert "step-2 (25 %): 300 requests, about 2 min" in capsys.readouterr().out


def test_the_status_says_when_the_next_look_is_due(project: Project) -> None:
    status = dataclasses.replace(
        read_status(project), evidence={"next_look": 300, "seconds_to_next_look": 240.0, "requests_per_second": 12.5}
    )
    assert list_status_facts(project, status)["next look"] == (
        "at 300 canary requests of this step, in about 4 min at 12.5 requests a second"
    )
    assert "next look" not in list_status_facts(project, dataclasses.replace(status, evidence={"requests_per_second": 12.5}))


def test_ctrl_c_says_that_a_started_rollout_continues(project: Project, run: Path) -> None:
    assert "No file was left half-written" in running.explain_interruption(project, run).hint
    request = Request(id="1", release=B, by="bob", at=2.0, steps=(5, 100))
    journal_of(project, request=request, state=State(phase=Phase.STEP, step=0, since=3.0))
    error = running.explain_interruption(project, run)
    assert error.exit_code == 130
    assert "the rollout that this run started continues" in error.message
    assert "`sluice rollout status`" in error.hint
    assert "`sluice rollout abort`" in error.hint
    (run / "parts" / "release.json").write_text(json.dumps({"number": 1, "digest": A}))
    assert "No file was left half-written" in running.explain_interruption(project, run).hint, (
        "the running rollout belongs to another run"
    )


def test_an_unchanged_run_says_if_its_release_is_no_longer_champion(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = {"id": "one", "outcome": "promoted", "release": {"number": 2, "digest": B}}
    journal_of(project)
    running._show_unchanged(running.Format.TABLE, "release", earlier, "sha256:0", project)
    printed = capsys.readouterr().out
    assert "its release 2 is no longer champion" in printed
    assert "sluice rollout start 2" in printed
    running._show_unchanged(
        running.Format.TABLE, "release", earlier | {"release": {"number": 1, "digest": A}}, "sha256:0", project
    )
    assert "no longer champion" not in capsys.readouterr().out
