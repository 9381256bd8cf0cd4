"""When the monitor starts a retraining, on windows of simulated rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from trigger_services import NOW, make_event, make_frame, make_project, make_reference

from sluice.errors import DataError
from sluice.triggers.monitor.payloads import RequestCounter
from sluice.triggers.monitor.windows import (
    PLANNED_LOOKS,
    Look,
    WatchState,
    add_rows,
    advance,
    name_start,
    read_window_plan,
    sum_slices,
    swap_reference,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.triggers.monitor.windows import WindowPlan

REFERENCE = make_reference()
COUNTER = RequestCounter(REFERENCE)
START = NOW // 60 * 60


@pytest.fixture
def plan(tmp_path: Path) -> WindowPlan:
    settings = make_project(tmp_path).settings
    return read_window_plan(settings.monitor, settings.drift)


class Stream:
    """Feeds one slice of rows after the other, and records what each look found."""

    def __init__(self, plan: WindowPlan, seed: int = 2) -> None:
        self.plan, self.rng, self.now = plan, np.random.default_rng(seed), START
        self.state = WatchState(reference=REFERENCE.digest)
        self.looks: list[Look] = []

    def feed(self, slices: int, *, rows: int = 400, shift: float = 0.0) -> None:
        for _ in range(slices):
            counted = COUNTER.count([make_event(make_frame(rows, self.rng, shift=shift)).data]) if rows else None
            if counted is not None:
                self.state = add_rows(self.state, counted.profile, self.now + 1, self.plan)
            self.now += 60
            self.state, look, _ = advance(self.state, REFERENCE, self.now, self.plan, project="small")
            self.looks += [look] if look else []


def test_a_shift_of_0_8_sd_is_suspected_confirmed_and_fires_once_per_cooldown(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(10)
    assert set(stream.looks) == {Look.TOO_FEW_ROWS, Look.STEADY}
    stream.feed(60, shift=0.8)
    assert stream.looks.count(Look.FIRED) == 1
    assert stream.state.start is not None
    first = stream.state.start
    assert first.columns == ("amount",)
    stream.feed(59, shift=0.8)
    assert stream.looks.count(Look.FIRED) == 2
    assert stream.state.start.key != first.key
    assert stream.state.start.time - first.time >= plan.cooldown


def test_a_burst_inside_one_slice_starts_nothing(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(6)
    stream.feed(1, shift=4.0)
    stream.feed(20)
    assert Look.SUSPECTED in stream.looks
    assert Look.NOT_CONFIRMED in stream.looks
    assert Look.FIRED not in stream.looks


def test_drift_must_be_confirmed_in_the_same_column(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(6)
    stream.feed(1, shift=4.0)
    for _ in range(6):  # from now on another column has drifted
        frame = make_frame(400, stream.rng).assign(zone="north")
        stream.state = add_rows(stream.state, COUNTER.count([make_event(frame).data]).profile, stream.now + 1, plan)
        stream.now += 60
        stream.state, look, _ = advance(stream.state, REFERENCE, stream.now, plan, project="small")
        assert look is not Look.FIRED
        if look is Look.NOT_CONFIRMED:
            return
    pytest.fail("the suspicion did not end")


def test_few_rows_are_not_judged_and_a_suspicion_without_rows_ends(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(10, rows=100, shift=3.0)
    assert set(stream.looks) == {Look.TOO_FEW_ROWS}
    stream = Stream(plan)
    stream.feed(3, rows=900, shift=3.0)
    assert stream.state.suspicion is not None
    stream.feed(1, rows=1)
    stream.feed(8, rows=0)
    assert stream.state.suspicion is None


def test_a_window_slides_by_slices_and_forgets_old_ones(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(30)
    assert len(stream.state.slices) == 5
    assert sum_slices(stream.state, 0, stream.now).rows == 5 * 400


def test_the_level_of_one_look_is_divided_by_the_planned_looks(plan: WindowPlan) -> None:
    assert plan.rule.alpha == pytest.approx(0.01 / PLANNED_LOOKS)
    assert (plan.rule.threshold, plan.rule.least_rows) == (0.2, 1_000)


def test_a_new_champion_swaps_the_reference_without_mixing_windows(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(20, shift=0.8)
    other = make_reference(seed=9, shift=0.8)
    swapped = swap_reference(stream.state, other.digest)
    assert (swapped.slices, swapped.suspicion) == ((), None)
    assert swapped.start == stream.state.start
    with pytest.raises(ValueError, match="another reference"):
        add_rows(swapped, COUNTER.count([make_event(make_frame(10, stream.rng)).data]).profile, stream.now, plan)
    assert swap_reference(stream.state, REFERENCE.digest) is stream.state


def test_a_clock_that_was_set_back_adds_to_the_last_slice(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(2)
    rows = COUNTER.count([make_event(make_frame(7, stream.rng)).data]).profile
    state = add_rows(stream.state, rows, START - 10_000, plan)
    assert [one.profile.rows for one in state.slices] == [400, 407]


def test_the_state_survives_json_and_has_no_category_of_a_request(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(20, shift=0.8)
    frame = make_frame(50, stream.rng).assign(zone="a name that only one request had")
    stream.state = add_rows(stream.state, COUNTER.count([make_event(frame).data]).profile, stream.now, plan)
    text = json.dumps(stream.state.to_dict(), allow_nan=False)
    assert "a name that" not in text
    again = WatchState.from_dict(json.loads(text))
    assert again.to_dict() == stream.state.to_dict()
    assert (again.start, again.suspicion, again.judged) == (stream.state.start, stream.state.suspicion, stream.state.judged)


def test_counts_of_another_version_are_dropped_and_the_cooldown_is_kept(plan: WindowPlan) -> None:
    stream = Stream(plan)
    stream.feed(20, shift=0.8)
    again = WatchState.from_dict(stream.state.to_dict() | {"counts_version": 1})
    assert (again.slices, again.suspicion) == ((), None)
    assert again.start is not None
    assert again.start == stream.state.start


@pytest.mark.parametrize("change", [{"version": 2}, {"format": "x"}, {"slices": 7}, {"start": {"key": "a"}}, {"judged": "soon"}])
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError):
        WatchState.from_dict(WatchState(reference="sha256:0").to_dict() | change)


def test_the_key_of_a_start_depends_on_project_champion_and_drift() -> None:
    keys = {name_start(*parts) for parts in (("a", "r", 1.0), ("b", "r", 1.0), ("a", "s", 1.0), ("a", "r", 2.0))}
    assert len(keys) == 4
    assert name_start("a", "r", 1.0) in keys
