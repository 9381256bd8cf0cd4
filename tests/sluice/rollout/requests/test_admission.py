"""The rules for requests, approvals and commands."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rollout_backends import name_release

from sluice.errors import RefusedError, StateError
from sluice.rollout.decisions.states import (
    ChampionTerm,
    Command,
    CommandKind,
    Condemnation,
    EndedRollout,
    Journal,
    Phase,
    State,
)
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import admission, approvals, starts
from sluice.rollout.requests.admission import check_gate, check_replaces, check_rollback_target, find_rollback_target
from sluice.rollout.requests.condemnations import read_condemnation

if TYPE_CHECKING:
    from sluice.project.projects import Project

A, B = name_release("a"), name_release("b")


def store_release(monkeypatch: pytest.MonkeyPatch, gate: dict[str, Any] | None) -> None:
    """Let the release store contain one release with this decision of the gate."""
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=3, manifest={"gate": gate}))
    monkeypatch.setattr(admission, "open_releases", lambda _: store)


@pytest.mark.parametrize(
    ("gate", "message"), [(None, "without asking the gate"), ({"promote": False}, "the gate did not promote")]
)
def test_a_release_that_the_gate_did_not_promote_is_neither_approved_nor_rolled_out(
    project: Project, monkeypatch: pytest.MonkeyPatch, gate: dict[str, Any] | None, message: str
) -> None:
    store_release(monkeypatch, gate)
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    for request in (
        lambda: starts.check_request(project, A),
        lambda: starts.request_rollout(project, A, by="bob"),
        lambda: approvals.plan_approval(project, A, "eve"),
        lambda: approvals.approve(project, A, by="eve"),
    ):
        with pytest.raises(RefusedError, match=message) as refused:
            request()
        assert refused.value.exit_code == 4
    assert open_journal(project).read() == Journal()


def test_a_release_that_the_gate_promoted_can_be_approved(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    check_gate(project, A)
    assert approvals.approve(project, A, by="eve").release == A


def test_the_request_names_the_question_that_promoted_the_release(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True, "ledger_head": "sha256:question"})
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    starts.request_rollout(project, A, by="bob")
    assert open_journal(project).read().request.ledger_head == "sha256:question"


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"until": 2.0}, False),
        ({"model": "sha256:other"}, False),
        ({"scores": "sha256:t"}, False),
        ({"at": 4e9}, False),
    ],
)
def test_an_override_lets_a_release_pass_only_for_its_model_and_its_time(
    project: Project, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], passes: bool
) -> None:
    override = {"model": "sha256:m", "scores": "sha256:s", "by": "ada", "why": "urgent", "at": 1.0, "until": 4e9 + 1, **change}
    manifest = {"gate": {"promote": False, "scores": "sha256:s", "override": override}, "model": {"digest": "sha256:m"}}
    store = SimpleNamespace(get=lambda _: SimpleNamespace(number=3, manifest=manifest))
    monkeypatch.setattr(admission, "open_releases", lambda _: store)
    if passes:
        check_gate(project, A)
        return
    with pytest.raises(RefusedError, match="the override by ada has expired or is about another model"):
        check_gate(project, A)


def test_the_champion_cannot_be_approved_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    open_journal(project).update(lambda _: Journal(history=(ChampionTerm(release=A, by="bob", at=1.0),), weights={A: 100}))
    with pytest.raises(StateError, match="is already the champion, so there is nothing to approve"):
        approvals.approve(project, A, by="eve")


def condemn(project: Project) -> None:
    condemned = (Condemnation(release=B, at=1_800_000_000.0, reason="e-value 120 reached 100"),)
    term = ChampionTerm(release=A, by="bob", at=1.0)
    open_journal(project).update(lambda _: Journal(history=(term,), weights={A: 100}, condemned=condemned))


def test_a_condemned_release_is_neither_started_nor_approved(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    condemn(project)
    before = open_journal(project).read()
    for request in (
        lambda: starts.check_request(project, B),
        lambda: starts.request_rollout(project, B, by="bob"),
        lambda: starts.request_rollout(project, B, by="bob", again="  "),
        lambda: approvals.approve(project, B, by="eve"),
    ):
        with pytest.raises(
            RefusedError, match=r"is condemned, because its canary failed at .*: e-value 120 reached 100"
        ) as refused:
            request()
        assert refused.value.exit_code == 4
        assert f"sluice rollout start {B[:19]} --again WHY" in refused.value.hint
    assert open_journal(project).read() == before


def test_a_condemned_release_is_started_again_if_a_person_says_why(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    condemn(project)
    starts.check_request(project, B, again="the disk was full")
    starts.request_rollout(project, B, by="bob", again="the disk was full")
    journal = open_journal(project).read()
    assert journal.request is not None
    assert journal.request.again == "the disk was full"
    assert journal.transitions[-1].reason == "requested by bob again, although it is condemned: the disk was full"
    starts.request_rollout(project, B, by="bob")
    assert approvals.approve(project, B, by="eve").release == B, "its rollout is running"
    told = read_condemnation(project, B)
    assert told.startswith("started again by bob although condemned at 2027-")
    assert told.endswith("because e-value 120 reached 100. The reason to start again: the disk was full")
    assert read_condemnation(project, A) == ""


def test_a_second_approval_of_a_running_rollout_changes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    starts.request_rollout(project, B, by="bob")
    first = approvals.approve(project, B, by="eve")
    before = open_journal(project).read()
    assert approvals.approve(project, B, by="kim") == first
    assert open_journal(project).read() == before
    expired = dataclasses.replace(first, until=first.at)
    open_journal(project).update(lambda old: dataclasses.replace(old, approvals=(expired,)))
    assert approvals.approve(project, B, by="kim").by == "kim"


def test_a_reason_for_a_release_that_is_not_condemned_is_not_stored(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store_release(monkeypatch, {"promote": True})
    monkeypatch.setattr(starts, "check_supervised", lambda _: None)
    starts.request_rollout(project, B, by="bob", again="why not")
    request = open_journal(project).read().request
    assert request is not None
    assert request.again == ""


def test_a_second_rollback_is_refused_and_names_the_release_that_was_rolled_back() -> None:
    alone = Journal(history=(ChampionTerm(release=A, by="bob", at=1.0),), weights={A: 100})
    with pytest.raises(
        StateError, match=r"there is no N-1 to roll back to, because no release was champion before sha256:aaaa[^;]*$"
    ):
        find_rollback_target(alone)
    left = EndedRollout(
        id="command-2", release=B, stable=A, outcome=Phase.ROLLED_BACK, reason="by kim", by="kim", started=2.0, ended=2.0
    )
    back = Journal(history=alone.history, weights={A: 100, B: 0}, rollouts=(left,))
    with pytest.raises(StateError, match=r"no release was champion before sha256:aaaa.*; sha256:bbbb.* was rolled back already"):
        find_rollback_target(back)
    with pytest.raises(StateError, match="there is no champion"):
        find_rollback_target(Journal())


def test_a_command_does_not_replace_one_of_higher_precedence() -> None:
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


def test_a_rollback_goes_to_the_release_that_the_person_confirmed_or_is_refused() -> None:
    history = tuple(ChampionTerm(release=release, by="ada", at=0.0) for release in "ab")
    at_step = Journal(history=history, state=State(phase=Phase.STEP, step=0))
    idle = Journal(history=history)
    assert check_rollback_target(at_step, "") == "b"
    assert check_rollback_target(idle, "") == "a"
    assert check_rollback_target(idle, "b") == "b", "the canary was rolled back in the meantime"
    with pytest.raises(StateError, match="production has changed"):
        check_rollback_target(idle, "x")
