from __future__ import annotations

import itertools
import re

import pytest
import report_records
import report_traffic
from hypothesis import given
from hypothesis import strategies as st

from sluice.report.charts import scales, series
from sluice.report.charts.curves import draw_calibration, draw_roc
from sluice.report.charts.decision_marks import choose_time_window, place_marks
from sluice.report.charts.intervals import draw_interval
from sluice.report.charts.rollout_chart import RolloutChart, draw_rollout, name_arms
from sluice.report.charts.timeline import draw_timeline
from sluice.report.decision_table import list_decisions
from sluice.report.record_reader import parse_run
from sluice.report.results import Curve, Curves, Roc, Rollout, RunResult
from sluice.verdicts import Interval, Outcome, Verdict

OLD, NEW = report_traffic.digest_of("layer 1"), report_traffic.digest_of("layer 2")


def rollout_of(act: int) -> Rollout:
    rollout = parse_run(report_records.story_run(act)).rollout
    assert rollout is not None
    return rollout


def chart_of(act: int) -> RolloutChart:
    chart = draw_rollout(rollout_of(act), {OLD: "release 1", NEW: "release 2"})
    assert chart is not None
    return chart


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 12))
def test_nice_ticks_are_few_evenly_spaced_and_inside_the_range(low: float, size: float, max_intervals: int) -> None:
    ticks = scales.nice_ticks(low, low + size, max_intervals=max_intervals)
    assert len(ticks) <= max_intervals + 1
    assert all(low - 1e-6 * size <= tick <= low + size * (1 + 1e-6) for tick in ticks)
    gaps = {round((after - before) / size, 6) for before, after in itertools.pairwise(ticks)}
    assert len(gaps) <= 1 or max(gaps) - min(gaps) <= 1e-5


def test_nice_ceiling_returns_the_next_round_value() -> None:
    assert [scales.nice_ceiling(value) for value in (0.05, 0.051, 1.0, 2.2, 7.0)] == pytest.approx([0.05, 0.1, 1.0, 2.5, 10.0])


def test_line_path_draws_nothing_over_a_gap() -> None:
    x = y = scales.Scale(0, 10, 0, 10)
    assert scales.line_path([(0, 1.0), (1, 2.0), (2, None), (3, 4.0)], x, y) == "M0 1L0 1L1 2M3 4L3 4"


def test_area_path_returns_along_the_steps_of_the_lower_line() -> None:
    x = y = scales.Scale(0, 10, 0, 10)
    path = scales.area_path([(0, 5.0), (10, 5.0)], [(0, 0.0), (4, 2.0), (10, 2.0)], x, y)
    assert path == "M0 5H10V5L10 2V2H4V0H0Z"


@given(st.lists(st.floats(-1e6, 1e6), max_size=600), st.integers(8, 100))
def test_thinned_points_keep_their_ends_and_extremes(values: list[float], max_points: int) -> None:
    points = [(float(place), value) for place, value in enumerate(values)]
    kept = series.thin_points(points, max_points=max_points)
    assert len(kept) <= max_points + 4
    assert set(kept) <= set(points)
    assert kept == sorted(kept)
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        assert max(value for _, value in kept) == max(values)
        assert min(value for _, value in kept) == min(values)


def test_keep_changes_keeps_every_step_and_both_ends() -> None:
    points = [(0.0, 5.0), (1.0, 5.0), (2.0, 25.0), (3.0, 25.0), (4.0, 25.0)]
    assert series.keep_changes(points) == [(0.0, 5.0), (2.0, 25.0), (4.0, 25.0)]


def test_a_counter_that_falls_was_reset_and_counts_from_zero() -> None:
    assert series.undo_counter_resets([3, 10, 2, 5]) == [3, 10, 12, 15]


def test_the_error_rate_covers_the_trailing_window_and_is_none_without_requests() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 4.0]
    rates = series.error_rates(times, [0, 10, 20, 20, 20], [0, 5, 5, 5, 5], window=1.0, max_points=100)
    assert rates == [(0.0, None), (1.0, 0.5), (2.0, 0.0), (3.0, None), (4.0, None)]


@given(st.integers(1, 900), st.integers(1, 50))
def test_thinned_error_rates_include_the_last_sample(count: int, max_points: int) -> None:
    times = [float(place) for place in range(count)]
    rates = series.error_rates(times, times, times, window=5.0, max_points=max_points)
    assert len(rates) <= max_points
    assert rates[-1][0] == times[-1]


def test_an_interval_that_reaches_below_its_threshold_is_drawn_that_way() -> None:
    verdict = Verdict(
        check="auc",
        outcome=Outcome.PASS,
        observed=0.78,
        interval=Interval(0.70, 0.84, 0.95, "x"),
        threshold=0.74,
        comparison=">=",
        unproven=True,
    )
    drawing = draw_interval(verdict)
    assert drawing is not None
    assert drawing.threshold is not None
    assert drawing.low < drawing.threshold < drawing.point < drawing.high
    assert drawing.zone == (drawing.threshold, 200)
    assert "[0.700, 0.840]" in drawing.description


def test_a_verdict_without_two_numbers_to_compare_has_no_drawing() -> None:
    assert draw_interval(Verdict(check="c", outcome=Outcome.PASS)) is None
    assert draw_interval(Verdict(check="c", outcome=Outcome.PASS, observed=3.0)) is None
    assert draw_interval(Verdict(check="c", outcome=Outcome.PASS, observed=0.0, threshold=0.0, comparison="==")) is None


def test_an_upper_threshold_has_its_passing_zone_on_the_left() -> None:
    drawing = draw_interval(Verdict(check="c", outcome=Outcome.PASS, observed=0.03, threshold=0.1, comparison="<="))
    assert drawing is not None
    assert drawing.zone == (0, drawing.threshold)


def test_curves_without_a_champion_show_the_challenger_alone() -> None:
    curve = Curve(roc=Roc(fpr=(0, 0.2, 1), tpr=(0, 0.7, 1), auc=0.8))
    plot = draw_roc(Curves(challenger=curve))
    assert plot is not None
    assert [item.role for item in plot.series] == ["challenger"]
    assert draw_calibration(Curves(challenger=curve)) is None
    assert draw_roc(Curves()) is None


def test_the_chart_of_a_promotion_marks_every_step() -> None:
    chart = chart_of(1)
    assert [(arm.name, arm.part) for arm in chart.arms] == [("release 2", "canary"), ("release 1", "stable")]
    assert [mark.label for mark in chart.marks] == ["5 %", "25 %", "100 %", "promoted"]
    assert [panel.key for panel in chart.panels] == ["traffic", "errors", "evidence", "latency"]
    lefts = [mark.left for mark in chart.marks]
    assert lefts == sorted(lefts)


def test_the_chart_of_a_rollback_marks_it_and_the_evidence_crosses_the_threshold() -> None:
    chart = chart_of(2)
    assert [(mark.label, mark.tone) for mark in chart.marks] == [("5 %", "step"), ("rolled back", "bad")]
    evidence = next(panel for panel in chart.panels if panel.key == "evidence")
    assert evidence.threshold is not None
    heights = [float(found) for found in re.findall(r"[ML][\d.]+ ([\d.]+)", evidence.lines[0].path)]
    assert min(heights) <= evidence.threshold.at < max(heights)


def test_the_traffic_line_steps_when_the_decision_was_applied() -> None:
    chart = chart_of(2)
    traffic = chart.panels[0]
    turns = [float(found) for found in re.findall(r"H([\d.]+)V", traffic.lines[0].path)]
    for mark in chart.marks:
        assert min(abs(turn / 10 - mark.left) for turn in turns) < 0.1


def test_a_champion_that_a_person_rolls_back_is_not_called_canary() -> None:
    chart = chart_of(4)
    assert [(arm.name, arm.part) for arm in chart.arms] == [("release 2", "rolled back"), ("release 1", "restored")]
    assert "evidence" not in [panel.key for panel in chart.panels]
    assert [mark.label for mark in chart.marks] == ["rolled back"]


def test_there_is_no_chart_if_traffic_never_moved() -> None:
    assert draw_rollout(rollout_of(0), {}) is None
    assert draw_rollout(Rollout(), {}) is None
    assert name_arms(Rollout(), {}) == ()


def test_the_window_leaves_out_the_time_before_the_approval() -> None:
    raw = report_records.story_run(1)["rollout"]
    idle = [raw["samples"][0] | {"time": raw["samples"][0]["time"] - second} for second in range(600, 0, -1)]
    window = choose_time_window(Rollout.model_validate(raw | {"samples": idle + raw["samples"]}))
    assert window is not None
    assert window.zero - window.start < 5


def test_labels_of_decisions_that_are_close_together_get_different_lanes() -> None:
    raw = report_records.story_run(1)["rollout"]
    begin = raw["transitions"][1]["time"]
    for place, move in enumerate(raw["transitions"][1:]):
        move |= {"time": begin + place * 0.2, "applied_at": begin + place * 0.2}
    rollout = Rollout.model_validate(raw)
    window = choose_time_window(rollout)
    assert window is not None
    marks = place_marks(rollout, window, canary=NEW)
    assert len(marks) == 4
    assert max(mark.lane_narrow for mark in marks) >= max(mark.lane for mark in marks) >= 1


def test_the_bar_of_a_step_without_an_end_reaches_to_the_end_of_the_run() -> None:
    run = RunResult.model_validate(
        {
            "started": 0,
            "ended": 10,
            "steps": [{"name": "a", "started": 0, "ended": 4}, {"name": "b", "started": 4}, {"name": "c"}],
        }
    )
    timeline = draw_timeline(run)
    assert timeline is not None
    assert [(bar.left, bar.width) for bar in timeline.bars] == [(0, 40), (40, 60), (0, None)]
    assert draw_timeline(RunResult()) is None


def test_what_a_step_said_is_beside_its_bar_and_never_over_its_name() -> None:
    times = {"whole": (0, 100), "long": (0, 80), "late": (30, 95), "middle": (60, 70)}
    steps = [{"name": name, "started": start, "ended": end, "outcome": "pass"} for name, (start, end) in times.items()]
    timeline = draw_timeline(parse_run({"started": 0, "ended": 100, "steps": steps}))
    assert timeline is not None
    found = {bar.step.name: (bar.before, round(bar.note_edge), round(bar.room)) for bar in timeline.bars}
    assert found == {"whole": (False, 100, 0), "long": (False, 80, 20), "late": (True, 70, 30), "middle": (True, 40, 46)}


def test_the_evidence_of_a_decision_is_drawn_although_no_sample_has_it() -> None:
    raw = report_records.story_run(2)["rollout"]
    decided = raw["transitions"][-1]["time"]
    for sample in raw["samples"]:
        sample["e_value"] = min(sample["e_value"] or 0.0, 90.0)
    raw["transitions"][-1]["evidence"] |= {"e_value": 909.0, "step_canary_requests": 12, "step_canary_errors": 3}
    chart = draw_rollout(Rollout.model_validate(raw), {report_traffic.digest_of("layer 3"): "release 3"})
    assert chart is not None
    panels = {panel.key: panel for panel in chart.panels}
    assert "the highest e-value is 909" in panels["evidence"].description
    assert [dot.title for dot in panels["evidence"].dots][-1] == "rolled back: e-value 909"
    dot = panels["evidence"].dots[-1].path.removeprefix("M").partition("L")[0]
    assert dot in panels["evidence"].lines[0].path, "the line must go through the dot"
    assert [dot.title for dot in panels["errors"].dots] == ["release 3, rolled back: 3 of 12 requests failed"]
    window = choose_time_window(Rollout.model_validate(raw))
    assert window is not None
    at = (decided - window.start) / (window.end - window.start) * 1000
    assert float(dot.split()[0]) == pytest.approx(at, abs=0.1)


def test_find_isolated_points_finds_the_points_between_gaps() -> None:
    points = [(0.0, 0.5), (1.0, None), (2.0, 0.1), (3.0, 0.2), (4.0, None), (5.0, None), (6.0, 0.3)]
    assert series.find_isolated_points(points) == [(0.0, 0.5), (6.0, 0.3)]
    assert series.find_isolated_points([]) == []


def test_the_table_of_decisions_counts_from_the_same_moment_as_the_chart() -> None:
    raw = report_records.story_run(1)["rollout"]
    raw["started"] -= 7
    rollout = Rollout.model_validate(raw)
    chart = draw_rollout(rollout, {})
    assert chart is not None
    after = {row.decision: row.after for row in list_decisions(rollout, {})}
    assert [mark.after for mark in chart.marks] == list(after.values())[-len(chart.marks) :]
    assert next(iter(after.values())).startswith("\N{MINUS SIGN}"), "the request came before traffic changed"


def test_a_check_with_two_bounds_passes_between_them() -> None:
    verdict = Verdict(check="mean", outcome=Outcome.PASS, observed=115.0, threshold=20.0, upper=400.0, comparison=">=")
    drawing = draw_interval(verdict)
    assert drawing is not None
    assert drawing.zone is not None
    assert drawing.threshold == drawing.zone[0] < drawing.point < drawing.zone[1] < 200
    assert "must be ≥ 20, ≤ 400" in drawing.description


def test_a_canary_that_is_added_without_traffic_does_not_start_the_window() -> None:
    raw = report_records.story_run(1)["rollout"]
    first = raw["samples"][0]
    alone = {release: share for release, share in first["weights"].items() if share}
    early = [first | {"weights": alone, "time": first["time"] - second} for second in (9, 8, 7)]
    window = choose_time_window(Rollout.model_validate(raw | {"samples": early + raw["samples"]}))
    assert window is not None
    step = next(move for move in raw["transitions"] if move["to"] == "step-1")
    assert window.zero == pytest.approx(step["applied_at"], abs=0.5)
