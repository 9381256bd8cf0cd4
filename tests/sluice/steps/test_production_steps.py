"""The approval step and the canary step refuse a release whose canary failed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sluice.project.projects import read_project
from sluice.rollout.decisions.states import ChampionTerm, Condemnation, Journal
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import admission, starts
from sluice.steps import production
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A, B = (f"sha256:{letter * 64}" for letter in "ab")
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


@pytest.mark.parametrize(
    "step", [production.wait_for_approval, lambda release: production.run_canary(release, by="ci")], ids=["approval", "canary"]
)
def test_a_step_ends_at_once_with_exit_code_4_if_the_release_is_condemned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[str], str]
) -> None:
    (tmp_path / "sluice.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path))
    release = SimpleNamespace(number=2, digest=B, manifest={"gate": {"promote": True}})
    for module in (production, admission):
        monkeypatch.setattr(module, "ReleaseStore", lambda _folder: SimpleNamespace(get=lambda _: release))
    monkeypatch.setattr(starts, "check_supervised", lambda _journal_store: None)
    condemned = (Condemnation(release=B, at=1_800_000_000.0, reason="e-value 120 reached 100"),)
    term = ChampionTerm(release=A, by="bob", at=1.0)
    before = open_journal(read_project(tmp_path)).update(
        lambda _: Journal(history=(term,), weights={A: 100}, condemned=condemned)
    )
    with pytest.raises(SystemExit) as ended:
        step(B)
    assert ended.value.code == 4
    last = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()][-1]
    assert last["outcome"] == "fail"
    assert "is condemned, because its canary failed" in last["error"]
    assert "--again WHY" in last["hint"]
    assert open_journal(read_project(tmp_path)).read() == before
