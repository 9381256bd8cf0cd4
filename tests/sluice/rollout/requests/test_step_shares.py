"""Steps that are given as numbers of requests."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import ValidationError

from sluice.errors import StateError
from sluice.project.projects import Project
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.expected_times import Measurement
from sluice.rollout.decisions.states import Approval, ChampionTerm, Journal, Request
from sluice.rollout.requests import step_shares
from sluice.rollout.requests.step_shares import choose_shares, find_steps

COUNTED: list[Any] = ["300 requests", "1000 requests", 100]


def measure(rate: float, seconds: float = 600.0) -> Measurement:
    return Measurement(rate=rate, seconds=seconds, busiest=rate)


CHAMPION = Journal(history=(ChampionTerm(release="a", by="ada", at=0.0),))


def counted(project: Project, *steps: Any) -> Project:
    rollout = RolloutTable(steps=list(steps or COUNTED))
    return Project(project.root, project.settings.model_copy(update={"rollout": rollout}))


def test_the_measured_traffic_chooses_the_shares() -> None:
    settings = RolloutTable(steps=COUNTED)
    assert choose_shares(settings, measure(10.0)) == (5, 17, 100)
    assert choose_shares(settings, measure(1000.0)) == (1, 2, 100), "the shares rise"
    assert choose_shares(RolloutTable(steps=["300 requests", 100]), measure(0.01)) == (50, 100)


def test_a_chosen_share_stays_below_the_next_step() -> None:
    assert choose_shares(RolloutTable(steps=["300 requests", 25, 100]), measure(0.01)) == (24, 25, 100)
    with pytest.raises(StateError, match='no share for the step "300 requests" between the steps before and after it'):
        choose_shares(RolloutTable(steps=[50, "300 requests", 100]), measure(1.0))


@pytest.mark.parametrize(
    ("measured", "share"),
    [
        (measure(1.0), 50),
        (measure(1.0, seconds=20.0), 5),
        (Measurement(rate=1.0), 5),
        (Measurement(rate=1.0, seconds=600.0, busiest=100.0), 1),
        (Measurement(seconds=600.0, quiet_seconds=3600.0, busiest=1.0), 5),
    ],
    ids=["ten minutes", "20 seconds", "of an older version", "a quiet night after a day", "an hour without requests"],
)
def test_a_short_or_an_old_measurement_chooses_no_large_share(measured: Measurement, share: int) -> None:
    """After a night, the average over the night chose 50 % as the first step, and the traffic of the day met it."""
    assert choose_shares(RolloutTable(steps=["300 requests", 100]), measured) == (share, 100)


def test_without_measured_traffic_no_share_is_chosen() -> None:
    with pytest.raises(
        StateError, match='the share of the step "300 requests" cannot be chosen, because no traffic was measured'
    ):
        choose_shares(RolloutTable(steps=COUNTED), Measurement())
    assert choose_shares(RolloutTable(steps=COUNTED), Measurement(), first_release=True) == (100,)


@pytest.mark.parametrize("steps", [["300 requests"], ["0 requests", 100], ["many requests", 100], [25, 5, "300 requests", 100]])
def test_other_steps_are_refused(steps: list[Any]) -> None:
    with pytest.raises(ValidationError):
        RolloutTable(steps=steps)


def test_the_request_and_the_approval_name_the_same_shares(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traffic changes between the approval and the request, and the approval names the steps."""
    project = counted(project)
    monkeypatch.setattr(step_shares, "read_traffic", lambda _store: measure(10.0))
    assert find_steps(project, CHAMPION, "c") == (5, 17, 100)
    now = time.time()
    approval = Approval(release="c", steps=(7, 20, 100), by="eve", at=now, until=now + 60)
    approved = Journal(history=CHAMPION.history, approvals=(approval,))
    assert find_steps(project, approved, "c") == (7, 20, 100)
    assert find_steps(project, approved, "d") == (5, 17, 100), "it is the approval of another release"
    request = Request(id="r", release="c", by="bob", at=now, steps=(3, 4, 100))
    running = Journal(history=CHAMPION.history, approvals=(approval,), request=request)
    assert find_steps(project, running, "c") == (3, 4, 100)


def test_an_approval_of_other_steps_is_not_used(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project = counted(project, 5, "1000 requests", 100)
    monkeypatch.setattr(step_shares, "read_traffic", lambda _store: measure(10.0))
    now = time.time()
    for steps in ((7, 20, 100), (5, 100)):
        approval = Approval(release="c", steps=steps, by="eve", at=now, until=now + 60)
        assert find_steps(project, Journal(history=CHAMPION.history, approvals=(approval,)), "c") == (5, 17, 100)
    fits = Approval(release="c", steps=(5, 20, 100), by="eve", at=now, until=now + 60)
    assert find_steps(project, Journal(history=CHAMPION.history, approvals=(fits,)), "c") == (5, 20, 100)
