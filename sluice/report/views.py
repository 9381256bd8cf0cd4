"""Everything that the templates show: the report's model with badges, drawings and derived numbers.

Pure functions, without markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.badges import NOT_RUN, Badge, badge_of, badge_of_expectation, badge_of_run
from sluice.report.charts.curves import SquarePlot, draw_calibration, draw_roc
from sluice.report.charts.intervals import IntervalDrawing, draw_interval
from sluice.report.charts.rollout_chart import RolloutChart, draw_rollout
from sluice.report.charts.timeline import Timeline, draw_timeline
from sluice.report.decision_table import DecisionRow, list_decisions
from sluice.report.materials import Material, list_materials
from sluice.report.results import LAYERS, Act, Fact, Layer, Release, Report, RunResult
from sluice.report.summary import (
    Headline,
    describe_expectation,
    describe_gate,
    describe_gate_budget,
    find_key_number,
    list_gate_notes,
    list_headline_tiles,
    list_tiles,
    name_release,
    name_releases,
    write_headline,
)
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CheckView:
    """One verdict with its badge and its drawing."""

    verdict: Verdict
    badge: Badge
    drawing: IntervalDrawing | None

    @property
    def has_numbers(self) -> bool:
        """Whether the verdict has numbers to show, and not only an outcome."""
        verdict = self.verdict
        return any(number is not None for number in (verdict.observed, verdict.threshold, verdict.interval, verdict.rows))


@dataclass(frozen=True, slots=True)
class LayerView:
    """One layer.

    Attributes:
        name: The layer's name.
        layer: Its result; None if it did not run.
        badge: How its outcome is shown.
        notable: Verdicts that are shown at once: they have an interval, or they are not a plain pass.
        plain: The other verdicts, which are shown on request.
        tally: How many checks there are and how they ended.
        expanded: Whether the page shows the verdicts without a click.
    """

    name: str
    layer: Layer | None
    badge: Badge
    notable: tuple[CheckView, ...]
    plain: tuple[CheckView, ...]
    tally: str
    expanded: bool


@dataclass(frozen=True, slots=True)
class ActView:
    """One act with everything that its section of the page shows."""

    place: int
    act: Act
    badge: Badge
    expected: Badge | None
    expectation: str
    key: Fact | None
    timeline: Timeline | None
    layers: tuple[LayerView, ...]
    gate_drawing: IntervalDrawing | None
    plots: tuple[SquarePlot, ...]
    gate_text: str
    gate_budget: str
    gate_notes: tuple[str, ...]
    chart: RolloutChart | None
    decisions: tuple[DecisionRow, ...]
    tiles: tuple[Fact, ...]

    @property
    def run(self) -> RunResult:
        """The act's run."""
        return self.act.run


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release and what it was made from."""

    name: str
    anchor: str
    release: Release
    materials: tuple[Material, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the HTML page shows."""

    report: Report
    headline: Headline
    tiles: tuple[Fact, ...]
    acts: tuple[ActView, ...]
    releases: tuple[ReleaseView, ...]
    names: Mapping[str, str]


def view_page(report: Report) -> Page:
    """Prepare a whole report for the page."""
    names = name_releases(report)
    return Page(
        report=report,
        headline=write_headline(report),
        tiles=list_headline_tiles(report),
        acts=tuple(view_act(place, act, names) for place, act in enumerate(report.acts, start=1)),
        releases=tuple(
            ReleaseView(name_release(release), f"release-{place}", release, list_materials(release, names))
            for place, release in enumerate(report.all_releases(), start=1)
        ),
        names=names,
    )


def view_act(place: int, act: Act, names: Mapping[str, str]) -> ActView:
    """Prepare one act."""
    run = act.run
    drawn = (draw_roc(run.curves), draw_calibration(run.curves)) if run.curves else ()
    return ActView(
        place=place,
        act=act,
        badge=badge_of_run(run),
        expected=badge_of_expectation(act.as_expected),
        expectation=describe_expectation(act),
        key=find_key_number(run),
        timeline=draw_timeline(run),
        layers=tuple(view_layer(name, run.layer(name)) for name in LAYERS) if run.layers else (),
        gate_drawing=draw_interval(run.gate.verdict, show_zero=True) if run.gate and run.gate.verdict else None,
        plots=tuple(plot for plot in drawn if plot is not None),
        gate_text=describe_gate(run.gate) if run.gate else "",
        gate_budget=describe_gate_budget(run.gate) if run.gate else "",
        gate_notes=list_gate_notes(run.gate) if run.gate else (),
        chart=draw_rollout(run.rollout, names) if run.rollout else None,
        decisions=list_decisions(run.rollout, names) if run.rollout else (),
        tiles=(list_tiles(run.rollout) if run.rollout else ()) + act.facts,
    )


def view_layer(name: str, layer: Layer | None) -> LayerView:
    """Prepare one layer. A layer that did not run gets the badge ``not run``."""
    if layer is None:
        return LayerView(name, None, NOT_RUN, (), (), "", expanded=False)
    checks = [CheckView(verdict, badge_of(verdict.outcome.value), draw_interval(verdict)) for verdict in layer.verdicts]
    notable = tuple(check for check in checks if is_notable(check.verdict))
    plain = tuple(check for check in checks if not is_notable(check.verdict))
    badge = badge_of(layer.outcome)
    attention = any(check.verdict.outcome is not Outcome.PASS or check.verdict.unproven for check in checks)
    return LayerView(
        name,
        layer,
        badge,
        notable,
        plain,
        describe_verdict_counts(layer),
        expanded=attention or name == "model" or badge.tone == "bad",
    )


def is_notable(verdict: Verdict) -> bool:
    """Return whether a verdict is shown at once: it has an interval, or it is not a plain pass."""
    return verdict.outcome is not Outcome.PASS or verdict.unproven or verdict.interval is not None


def describe_verdict_counts(layer: Layer) -> str:
    """Return how many checks there are and how they ended: ``9 checks: 8 pass, 1 inconclusive; 1 allowed; 1 unproven``."""
    total = len(layer.verdicts)
    counts = [f"{count} {outcome.value}" for outcome in Outcome if (count := layer.count(outcome))]
    text = f"{total} check{'' if total == 1 else 's'}"
    text = f"{text}: {', '.join(counts)}" if len(counts) > 1 or layer.count(Outcome.FAIL) else text
    text = f"{text}; {layer.allowed} allowed to be inconclusive" if layer.allowed else text
    return f"{text}; {layer.unproven} unproven" if layer.unproven else text
