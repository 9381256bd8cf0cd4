"""Who is let into the journal: what the gate has promoted, and wishes that fit the state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rollout_backends import name_release

from sluice.errors import RefusedError, StateError
from sluice.rollout.decisions.states import ChampionTerm, Command, CommandKind, EndedRollout, Journal, Phase, State
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import admission, approvals, starts
from sluice.rollout.requests.admission import check_gate, check_replaces, check_rollback_target, find_rollback_target

if TYPE_CHECKING:
    from sluice.project.projects import Project

A, B = name_release("a"), name_release("b")


def keep(monkeypatch: pytest.MonkeyPatch, gate: dict[str, Any] | None) -> None:
    """A store with one release that the gate has judged so."""
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=3, manifest={"gate": gate}))
    monkeypatch.setattr(admission, "ReleaseStore", lambda _: store)


@pytest.mark.parametrize(("gate", "words"), [(None, "without asking the gate"), ({"promote": False}, "the gate did not promote")])
def test_what_the_gate_has_not_promoted_is_neither_approved_nor_rolled_out(
    project: Project, monkeypatch: pytest.MonkeyPatch, gate: dict[str, Any] | None, words: str
) -> None:
    keep(monkeypatch, gate)
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    for ask in (
        lambda: starts.check_request(project, A),
        lambda: starts.request_rollout(project, A, by="bob"),
        lambda: approvals.plan_approval(project, A, "eve"),
        lambda: approvals.approve(project, A, by="eve"),
    ):
        with pytest.raises(RefusedError, match=words) as refused:
            ask()
        assert refused.value.exit_code == 4
    assert open_journal(project).read() == Journal()


def test_what_the_gate_has_promoted_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, {"promote": True})
    check_gate(project, A)
    assert approvals.approve(project, A, by="eve").release == A


def test_the_champion_is_not_approved_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, {"promote": True})
    open_journal(project).update(lambda _: Journal(history=(ChampionTerm(release=A, by="bob", at=1.0),), weights={A: 100}))
    with pytest.raises(StateError, match="is already the champion, so there is nothing to approve"):
        approvals.approve(project, A, by="eve")


def test_a_second_rollback_says_what_became_of_n_minus_1() -> None:
    alone = Journal(history=(ChampionTerm(release=A, by="bob", at=1.0),), weights={A: 100})
    with pytest.raises(StateError, match="there is no N-1; nothing was champion before sha256:aaaa"):
        find_rollback_target(alone)
    left = EndedRollout(
        id="command-2", release=B, stable=A, outcome=Phase.ROLLED_BACK, reason="by kim", by="kim", started=2.0, ended=2.0
    )
    back = Journal(history=alone.history, weights={A: 100, B: 0}, rollouts=(left,))
    with pytest.raises(StateError, match=r"sha256:bbbb.* was rolled back before, and nothing was champion before sha256:aaaa"):
        find_rollback_target(back)
    with pytest.raises(StateError, match="there is no champion"):
        find_rollback_target(Journal())


def test_a_way_down_that_waits_is_not_taken_back() -> None:
    for waiting, refused in (
        (CommandKind.ROLLBACK, (CommandKind.PROMOTE, CommandKind.ABORT)),
        (CommandKind.ABORT, (CommandKind.PROMOTE,)),
        (CommandKind.PROMOTE, ()),
    ):
        journal = Journal(command=Command(kind=waiting, by="kim", at=1.0))
        for kind in CommandKind:
            if kind in refused:
                with pytest.raises(StateError, match=f"a {waiting.value} by kim is under way"):
                    check_replaces(journal, kind)
            else:
                check_replaces(journal, kind)


def test_a_rollback_goes_where_the_person_was_told_or_not_at_all() -> None:
    history = tuple(ChampionTerm(release=release, by="ada", at=0.0) for release in "ab")
    at_step = Journal(history=history, state=State(phase=Phase.STEP, step=0))
    idle = Journal(history=history)
    assert check_rollback_target(at_step, "") == "b"
    assert check_rollback_target(idle, "") == "a"
    assert check_rollback_target(idle, "b") == "b", "the canary went down by itself"
    with pytest.raises(StateError, match="production has changed meanwhile"):
        check_rollback_target(idle, "x")
