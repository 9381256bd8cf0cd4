"""What `sluice rollout status`, `history` and `start` show of a rollout that failed."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rollout_backends import name_release
from typer.testing import CliRunner

from sluice.cli.production import releases, rollouts
from sluice.cli.production.rollout_facts import write_time
from sluice.cli.production.rollouts import app
from sluice.errors import RolledBackError
from sluice.project.projects import read_project
from sluice.rollout.decisions.states import Condemnation, EndedRollout, Journal, Phase, Request, Transition
from sluice.rollout.failures import ErrorKind, FailureSummary
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import approvals, histories, outcomes
from sluice.rollout.requests.release_references import NamedRelease

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


def test_a_stable_that_hung_and_was_replaced_stays_in_the_status_and_in_the_history(folder: Path) -> None:
    text = "stable's server did not answer for 9 s; it was replaced"
    event = Transition(time=3.0, from_state="rolled_back", to_state="rolled_back", reason=text, rollout="r", decided_at=3.0)
    by_person = dataclasses.replace(event, reason="ordered by kim", time=4.0, commanded_by="kim")
    open_journal(read_project(folder)).update(
        lambda old: dataclasses.replace(old, transitions=(*old.transitions, event, by_person))
    )
    status = CliRunner().invoke(app, ["status", "--project", str(folder)], env={"COLUMNS": "300"}).output
    assert re.search(rf"last event +\S+ \S+ {text}", status)
    history = CliRunner().invoke(app, ["history", "--project", str(folder)], env={"COLUMNS": "300"}).output.splitlines()
    found = [next(number for number, line in enumerate(history) if part in line) for part in (text, "by kim")]
    assert history[found[0] - 1].rstrip().endswith("rolled_back, unchanged  [no traffic]")
    assert history[found[1] - 1].rstrip().endswith("rolled_back → rolled_back  [no traffic]")


def test_the_history_is_readable_in_80_columns_and_names_who_asked_and_approved(folder: Path) -> None:
    ci, ann = "system:serviceaccount:sluice-pipelines:sluice-canary", "ann@example.com"
    stable = name_release("a")
    moves = [
        ("idle", "awaiting_ready", f"requested by {ci}", {stable: 100}, ""),
        ("awaiting_ready", "awaiting_approval", "the canary's server is ready", {stable: 100}, ""),
        ("awaiting_approval", "step-1", f"approved by {ann}", {stable: 95, B: 5}, ""),
        ("step-1", "aborted", "the rollout was ended", {stable: 100, B: 0}, "kim@example.com"),
    ]
    transitions = tuple(
        Transition(
            time=1e9, from_state=before, to_state=after, reason=why, release=B, weights=shares, decided_at=1e9, commanded_by=by
        )
        for before, after, why, shares, by in moves
    )
    open_journal(read_project(folder)).update(lambda old: dataclasses.replace(old, transitions=transitions))
    shown = CliRunner().invoke(app, ["history", "--project", str(folder)], env={"COLUMNS": "80"}).output
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= 80
    step = next(number for number, line in enumerate(lines) if "→ step-1" in line)
    assert lines[step] == f"{write_time(1e9)}  awaiting_approval → step-1  [{stable[7:15]} 95 %, {B[7:15]} 5 %]"
    assert lines[step + 1] == f"{' ' * 21}{B[7:15]}: approved by {ann}"
    text = " ".join(line[21:] for line in lines)
    assert f"requested by {ci}" in text
    assert "the rollout was ended (by kim@example.com)" in text


@pytest.mark.parametrize(
    ("stable", "hint"), [(name_release("a"), "The stable release has all traffic."), (None, "No release takes traffic, because")]
)
def test_the_hint_after_a_rejection_names_no_stable_release_that_does_not_exist(stable: str | None, hint: str) -> None:
    evidence = {"reason": "its server failed", "stable": stable, "failure": {"lines": ["refused: python is 3.12.1"]}}
    with pytest.raises(RolledBackError, match="release 7 was rejected: its server failed; what failed: refused") as ended:
        outcomes.check_promoted("rejected", evidence, 7)
    assert ended.value.hint.startswith(hint)


def test_a_first_release_that_was_rejected_leaves_no_stable_in_its_record(folder: Path) -> None:
    """`folder` has a first release that was rolled back."""
    record = histories.read_rollout(read_project(folder), B)
    with pytest.raises(RolledBackError) as ended:
        outcomes.check_promoted("rolled_back", record, 1)
    assert "stable" not in ended.value.hint


def condemn(folder: Path, request: Request | None = None) -> None:
    condemned = (Condemnation(release=B, at=1_800_000_000.0, reason="e-value 120 [bold]"),)
    open_journal(read_project(folder)).update(lambda old: dataclasses.replace(old, condemned=condemned, request=request))


def test_the_status_marks_a_condemned_release(folder: Path) -> None:
    condemn(folder)
    shown = CliRunner().invoke(app, ["status", "--project", str(folder)], env={"COLUMNS": "300"}).output
    assert re.search(rf"condemned +release {B[:19]}: condemned at 2027-.*, because e-value 120 \[bold\]", shown)


def test_who_approves_a_release_that_was_started_again_sees_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condemn(folder, Request(id="r2", release=B, by="bob", at=3.0, steps=(5, 25, 100), again="the disk was full"))
    monkeypatch.setattr(rollouts, "find_release", lambda *_: NamedRelease(B, 2))
    monkeypatch.setattr(rollouts, "_find_warnings", lambda *_: {})
    monkeypatch.setattr(approvals, "check_gate", lambda *_: None)
    arguments = ["approve", "2", "--dry-run", "--project", str(folder)]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"}).output
    assert "started again by bob although condemned at 2027-" in shown
    assert "because e-value 120 [bold]. The reason to start again: the disk was full" in shown


def test_a_second_approval_of_a_running_rollout_says_that_nothing_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(id="r2", release=B, by="bob", at=3.0, steps=(5, 25, 100))
    open_journal(read_project(folder)).update(lambda old: dataclasses.replace(old, request=request))
    monkeypatch.setattr(rollouts, "find_release", lambda *_: NamedRelease(B, 2))
    monkeypatch.setattr(rollouts, "_find_warnings", lambda *_: {})
    monkeypatch.setattr(approvals, "check_gate", lambda *_: None)
    shown = [
        json.loads(CliRunner().invoke(app, ["approve", "2", "--by", by, "--output", "json", "--project", str(folder)]).stdout)
        for by in ("ada", "eve")
    ]
    assert [one["outcome"] for one in shown] == ["approved", "unchanged"]
    assert [one["data"]["by"] for one in shown] == ["ada", "ada"]
    assert shown[0]["data"]["until"] == shown[1]["data"]["until"]


def test_the_list_of_releases_and_each_release_say_that_it_is_condemned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condemn(folder)
    manifest = {"code": {"commit": "c", "dirty": False}, "data": {"snapshot_digest": "d"}, "model": {"digest": "m"}}
    both = [
        SimpleNamespace(number=number, digest=digest, image_digest="", tags=set(), manifest=manifest)
        for number, digest in ((1, name_release("a")), (2, B))
    ]
    store = SimpleNamespace(list=lambda: both, get=lambda _: both[1], attachments=lambda _: [])
    monkeypatch.setattr(releases, "_store", lambda _: store)
    listed = CliRunner().invoke(releases.app, ["list", "--project", str(folder)], env={"COLUMNS": "200"}).output
    assert ["condemned" in line for line in listed.splitlines()] == [False, True, False]  # the newest one is first
    shown = CliRunner().invoke(releases.app, ["show", "2", "--project", str(folder)], env={"COLUMNS": "200"}).output
    assert "condemned at 2027-" in shown


def test_start_explains_what_again_is_for() -> None:
    shown = CliRunner().invoke(app, ["start", "--help"], env={"COLUMNS": "200"})
    assert "--again" in shown.output
    assert "Why a condemned release is rolled out again" in shown.output
