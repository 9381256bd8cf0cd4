"""The approval step and the canary step refuse a release whose canary failed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sluice.rollout.decisions.states import ChampionTerm, Condemnation, Journal
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import admission, outcomes, starts
from sluice.steps import production

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project

A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.mark.parametrize(
    "step", [production.wait_for_approval, lambda release: production.run_canary(release, by="ci")], ids=["approval", "canary"]
)
def test_a_step_ends_at_once_with_exit_code_4_if_the_release_is_condemned(
    tiny: Project, run: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tiny.root)
    release = SimpleNamespace(number=2, digest=B, manifest={"gate": {"promote": True}})
    for module in (production, admission):
        monkeypatch.setattr(module, "open_releases", lambda _project: SimpleNamespace(get=lambda _: release))
    monkeypatch.setattr(starts, "check_supervised", lambda _journal_store: None)
    condemned = (Condemnation(release=B, at=1_800_000_000.0, reason="e-value 120 reached 100"),)
    term = ChampionTerm(release=A, by="bob", at=1.0)
    before = open_journal(tiny).update(lambda _: Journal(history=(term,), weights={A: 100}, condemned=condemned))
    with pytest.raises(SystemExit) as ended:
        step(B)
    assert ended.value.code == 4
    last = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()][-1]
    assert last["outcome"] == "fail"
    assert "is condemned, because its canary failed" in last["error"]
    assert "--again WHY" in last["hint"]
    assert open_journal(tiny).read() == before


class StoppedError(Exception):
    """The test has seen what it needs."""


@pytest.mark.parametrize(
    ("history", "text"),
    [
        ((), "release 2 gets 100 % of the traffic, because there is no champion yet"),
        ((ChampionTerm(release=A, by="bob", at=1.0),), "release 2 gets 5 → 25 → 100 % of the traffic"),
    ],
    ids=["first", "second"],
)
def test_the_canary_step_says_which_shares_the_release_gets(
    tiny: Project, run: Path, monkeypatch: pytest.MonkeyPatch, history: tuple[ChampionTerm, ...], text: str
) -> None:
    def stop(*_: object, **__: object) -> str:
        raise StoppedError

    monkeypatch.chdir(tiny.root)
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=2))
    monkeypatch.setattr(production, "open_releases", lambda _project: store)
    monkeypatch.setattr(starts, "request_rollout", lambda *_, **__: None)
    monkeypatch.setattr(outcomes, "wait_for_outcome", stop)
    open_journal(tiny).update(lambda _: Journal(history=history, weights={A: 100} if history else {}))
    with pytest.raises(StoppedError):
        production.run_canary(B, by="ci")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [each["detail"] for each in events if each["event"] == "waiting"] == [text]
