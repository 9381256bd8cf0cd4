"""The page as the templates need it: the model beside its signs, drawings and derived numbers. Pure; no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.curves import SquarePlot, draw_calibration, draw_roc
from sluice.report.charts.intervals import IntervalDrawing, draw_interval
from sluice.report.charts.rollouts import RolloutChart, draw_rollout
from sluice.report.charts.timeline import Timeline, draw_timeline
from sluice.report.decisions import DecisionRow, list_decisions
from sluice.report.materials import Material, list_materials
from sluice.report.results import LAYERS, Act, Fact, Layer, Release, Report, RunResult
from sluice.report.signs import NOT_RUN, Sign, sign_of, sign_of_expectation
from sluice.report.summary import (
    Headline,
    describe_expectation,
    describe_gate,
    find_key_number,
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
    """One verdict with its drawing."""

    verdict: Verdict
    sign: Sign
    drawing: IntervalDrawing | None

    @property
    def has_numbers(self) -> bool:
        """Whether there is more to show than that it holds or not."""
        verdict = self.verdict
        return any(number is not None for number in (verdict.observed, verdict.threshold, verdict.interval, verdict.rows))


@dataclass(frozen=True, slots=True)
class LayerView:
    """One layer: `notable` verdicts are shown at once (they have an interval, or are no plain pass), `plain` ones on request."""

    name: str
    layer: Layer | None
    sign: Sign
    notable: tuple[CheckView, ...]
    plain: tuple[CheckView, ...]
    tally: str
    opened: bool


@dataclass(frozen=True, slots=True)
class ActView:
    """One act with everything that its section shows."""

    place: int
    act: Act
    sign: Sign
    expected: Sign | None
    expectation: str
    key: Fact | None
    timeline: Timeline | None
    layers: tuple[LayerView, ...]
    gate_drawing: IntervalDrawing | None
    plots: tuple[SquarePlot, ...]
    gate_text: str
    chart: RolloutChart | None
    decisions: tuple[DecisionRow, ...]
    tiles: tuple[Fact, ...]

    @property
    def run(self) -> RunResult:
        """The act's run."""
        return self.act.run


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release and what it is made of."""

    name: str
    anchor: str
    release: Release
    materials: tuple[Material, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    report: Report
    headline: Headline
    tiles: tuple[Fact, ...]
    acts: tuple[ActView, ...]
    releases: tuple[ReleaseView, ...]
    names: Mapping[str, str]


def view_page(report: Report) -> Page:
    """Prepare a report for the page."""
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
        sign=sign_of(act.outcome),
        expected=sign_of_expectation(act.as_expected),
        expectation=describe_expectation(act),
        key=find_key_number(run),
        timeline=draw_timeline(run),
        layers=tuple(view_layer(name, run.layer(name)) for name in LAYERS) if run.layers else (),
        gate_drawing=draw_interval(run.gate.verdict, show_zero=True) if run.gate and run.gate.verdict else None,
        plots=tuple(plot for plot in drawn if plot is not None),
        gate_text=describe_gate(run.gate) if run.gate else "",
        chart=draw_rollout(run.rollout, names) if run.rollout else None,
        decisions=list_decisions(run.rollout, names) if run.rollout else (),
        tiles=(list_tiles(run.rollout) if run.rollout else ()) + act.facts,
    )


def view_layer(name: str, layer: Layer | None) -> LayerView:
    """Prepare one layer; one that did not run is shown as such."""
    if layer is None:
        return LayerView(name, None, NOT_RUN, (), (), "", opened=False)
    checks = [CheckView(verdict, sign_of(verdict.outcome.value), draw_interval(verdict)) for verdict in layer.verdicts]
    notable = tuple(check for check in checks if is_notable(check.verdict))
    plain = tuple(check for check in checks if not is_notable(check.verdict))
    sign = sign_of(layer.outcome)
    attention = any(check.verdict.outcome is not Outcome.PASS or check.verdict.unproven for check in checks)
    return LayerView(
        name, layer, sign, notable, plain, count_verdicts(layer), opened=attention or name == "model" or sign.tone == "bad"
    )


def is_notable(verdict: Verdict) -> bool:
    """Whether a verdict says more than that something holds."""
    return verdict.outcome is not Outcome.PASS or verdict.unproven or verdict.interval is not None


def count_verdicts(layer: Layer) -> str:
    """``9 checks: 8 pass, 1 inconclusive; 1 unproven``."""
    total = len(layer.verdicts)
    words = [f"{count} {outcome.value}" for outcome in Outcome if (count := layer.count(outcome))]
    text = f"{total} check{'' if total == 1 else 's'}"
    text = f"{text}: {', '.join(words)}" if len(words) > 1 or layer.count(Outcome.FAIL) else text
    return f"{text}; {layer.unproven} unproven" if layer.unproven else text
