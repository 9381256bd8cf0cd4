"""How often the monitor starts a retraining without drift, over many windows, and how surely it finds a shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm
from trigger_services import NOW, make_project

from sluice.drift.columns import Kind
from sluice.drift.profiles import DriftProfile
from sluice.drift.references import DriftReference, ReferenceColumn
from sluice.statistics.psi import build_numeric_reference, count_categories, freeze_categories
from sluice.triggers.monitor.windows import Look, WatchState, add_rows, advance, read_window_plan

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.triggers.monitor.windows import WindowPlan

WINDOWS = 10_000
REFERENCES = 10
"""The windows are spread over several references, because the sampling error of one reference is in all of its windows."""

CATEGORIES = {"few": 1 / np.arange(1, 9), "many": 1 / np.arange(1, 49)}
NUMBERS = 6


class Population:
    """Six numbers, a short and a long-tailed category. Windows are drawn as counts per bin, which has the same distribution."""

    def __init__(self, rng: np.random.Generator, rows: int) -> None:
        self.rng = rng
        columns: dict[str, ReferenceColumn] = {}
        for number in range(NUMBERS):
            columns[f"x{number}"] = ReferenceColumn(Kind.NUMBER, build_numeric_reference(rng.normal(size=rows)))
        for name, weights in CATEGORIES.items():
            columns[name] = ReferenceColumn(Kind.CATEGORY, freeze_categories(self._draw_names(weights, rows)))
        self.reference = DriftReference(columns=columns, left_out={}, refused={}, rows=rows)
        self.digest = self.reference.digest

    def _draw_names(self, weights: np.ndarray, rows: int) -> dict[str | None, int]:
        drawn = self.rng.multinomial(rows, weights / weights.sum())
        return {f"v{place}": int(count) for place, count in enumerate(drawn) if count}

    def draw(self, rows: int, shift: float = 0.0) -> DriftProfile:
        counts, new = {}, {}
        for name, column in self.reference.columns.items():
            if column.kind is Kind.NUMBER:
                edges = norm.cdf(np.array(column.bins.edges) - (shift if name == "x0" else 0.0))
                counts[name] = (*self.rng.multinomial(rows, np.diff([0.0, *edges, 1.0])).tolist(), 0)
            else:
                drawn = self._draw_names(CATEGORIES[name], rows)
                counts[name] = count_categories(column.bins, drawn)
                known = column.bins.categories or {}
                new[name] = {value: count for value, count in drawn.items() if value is not None and value not in known}
        return DriftProfile(reference=self.digest, rows=rows, counts=counts, new=new)


def watch(plan: WindowPlan, population: Population, slices: int, rows: int, shift: float = 0.0) -> list[Look]:
    """Feed slices of rows one after the other, and return what the looks found."""
    state, now, looks = WatchState(reference=population.digest), NOW // 60 * 60, []
    for _ in range(slices):
        state = add_rows(state, population.draw(rows, shift), now + 1, plan)
        now += 60
        state, look, _ = advance(state, population.reference, now, plan, project="small")
        looks += [look] if look else []
    return looks


def plan_windows(root: Path, *, least_rows: int, window: float = 300.0) -> WindowPlan:
    settings = make_project(root, monitor={"least_rows": least_rows, "window_seconds": window}).settings
    return read_window_plan(settings.monitor, settings.drift)


@pytest.mark.slow
@pytest.mark.parametrize(("reference_rows", "window_rows"), [(500, 500), (20_000, 500), (2_000, 1_000)])
def test_no_retraining_is_started_in_10_000_windows_without_drift(tmp_path: Path, reference_rows: int, window_rows: int) -> None:
    """Each window is disjoint from the one before it, so that all 10,000 are independent looks given the reference."""
    plan = plan_windows(tmp_path, least_rows=window_rows, window=60.0)
    rng = np.random.default_rng(reference_rows + window_rows)
    looks: list[Look] = []
    for _ in range(REFERENCES):
        looks += watch(plan, Population(rng, reference_rows), WINDOWS // REFERENCES, window_rows)
    assert len(looks) == WINDOWS
    assert looks.count(Look.SUSPECTED) == 0, "even without the confirmation there would be no false alarm"
    assert set(looks) == {Look.STEADY}


@pytest.mark.slow
def test_no_retraining_is_started_in_10_000_sliding_windows_without_drift(tmp_path: Path) -> None:
    plan = plan_windows(tmp_path, least_rows=500)
    rng = np.random.default_rng(7)
    looks: list[Look] = []
    for _ in range(REFERENCES):
        looks += watch(plan, Population(rng, 2_000), WINDOWS // REFERENCES + 4, 100)
    assert looks.count(Look.STEADY) == WINDOWS
    assert set(looks) == {Look.STEADY, Look.TOO_FEW_ROWS}


@pytest.mark.slow
def test_a_shift_of_0_8_sd_of_one_column_always_starts_one_retraining(tmp_path: Path) -> None:
    plan = plan_windows(tmp_path, least_rows=1_000)
    rng = np.random.default_rng(8)
    for _ in range(100):
        looks = watch(plan, Population(rng, 2_000), 25, 200, shift=0.8)
        assert looks.count(Look.FIRED) == 1
        assert looks.index(Look.FIRED) == 4 + 5, "the first full window and the next disjoint one"
