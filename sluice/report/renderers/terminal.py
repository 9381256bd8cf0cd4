"""The report for a terminal: rich tables that fit into 80 columns. Text from records is never read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sluice.report.badges import DIRTY, UNPROVEN, Badge, badge_of
from sluice.report.decision_table import list_decisions
from sluice.report.formatting import (
    format_count,
    format_duration,
    format_interval,
    format_level,
    format_number,
    format_signed,
    format_threshold,
    format_words,
    shorten_digest,
)
from sluice.report.materials import list_materials
from sluice.report.record_reader import parse_layer
from sluice.report.results import Fact
from sluice.report.summary import name_release, name_releases, write_headline
from sluice.report.views import ActView, CheckView, LayerView, view_act, view_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from sluice.report.results import Gate, Release, Report

_STYLES = {"ok": "green", "bad": "bold red", "warn": "yellow", "quiet": "dim"}


def render_terminal(report: Report, *, details: bool = True) -> RenderableType:
    """Return the report as an object that a rich console can print.

    Args:
        report: What to show.
        details: Whether to show also the layers, the gate, the rollout and the release of each act. Without details there is only
            the table of acts.
    """
    names = name_releases(report)
    acts = [view_act(place, act, names) for place, act in enumerate(report.acts, start=1)]
    headline = write_headline(report)
    parts: list[RenderableType] = [
        Text(report.title, style="bold"),
        Text(headline.text, style=_STYLES.get(headline.tone, "")),
        _overview(acts),
    ]
    if report.facts:
        parts.append(_facts(report.facts))
    if details:
        parts += [_act(act, names) for act in acts]
        parts += [_release(release, names) for release in report.all_releases()]
    return Group(*parts)


def render_layer(values: Mapping[str, Any], *, verbose: bool = True, files: Mapping[str, object] | None = None) -> RenderableType:
    """Return the result of one layer as an object that a rich console can print.

    Args:
        values: The result, as `LayerResult.to_dict` returns it.
        verbose: Whether to show every verdict. Otherwise only verdicts that are not a plain pass, or that have an interval, are
            shown, and the others are counted.
        files: Name → path of a file with more details.
    """
    layer = parse_layer(values)
    view = view_layer(layer.layer, layer)
    checks = [*view.notable, *(view.plain if verbose else ())]
    parts: list[RenderableType] = [_layer_line(view)]
    parts += [_checks(checks)] if checks else []
    if view.plain and not verbose:
        parts.append(
            Text(f"{len(view.plain)} more check{'' if len(view.plain) == 1 else 's'} passed (--verbose shows them)", style="dim")
        )
    parts += [Text(layer.detail)] if layer.detail else []
    parts += [_facts(tuple(Fact(label=name, value=str(place)) for name, place in files.items()))] if files else []
    return Group(*parts)


def _badge(badge: Badge) -> Text:
    # The styled text is appended to an empty one, so that text that is added later does not inherit the style.
    return Text().append(f"{badge.glyph} {badge.word}", style=_STYLES.get(badge.tone, ""))


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in right, overflow="fold")
    return table


def _overview(acts: list[ActView]) -> Table:
    table = _table("#", "What was tried", "Outcome", "Key number", "Duration", right=("#", "Duration"))
    for act in acts:
        outcome = _badge(act.badge)
        if act.expected is not None:
            outcome.append(f"\n{act.expected.glyph} {act.expected.word}", style=_STYLES.get(act.expected.tone, ""))
        key = Text(act.key.value, style="bold") if act.key else Text()
        if act.key:
            key.append(f"\n{act.key.label}", style="not bold dim")
        table.add_row(str(act.place), Text(act.act.title), outcome, key, format_duration(act.run.duration))
    return table


def _facts(facts: tuple[Fact, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    for fact in facts:
        value = Text(fact.value, style=_STYLES.get(fact.tone, "bold"))
        if fact.detail:
            value.append(f"  {fact.detail}", style="not bold dim")
        table.add_row(Text(fact.label, style="dim"), value)
    return table


def _act(act: ActView, names: Mapping[str, str]) -> RenderableType:
    run = act.run
    parts: list[RenderableType] = [Rule(Text(f"{act.place}. {act.act.title}", style="bold"), align="left", style="dim")]
    if run.reason:
        parts.append(Text(run.reason))
    if run.commit:
        code = Text().append(f"commit {shorten_digest(run.commit)} ", style="dim")
        code.append(run.message.partition("\n")[0])
        parts.append(code + Text(f"  {DIRTY.glyph} {DIRTY.word}", style="yellow") if run.dirty else code)
    if run.snapshot and run.snapshot.place:
        parts.append(Text(f"data {shorten_digest(run.snapshot.digest)} {run.snapshot.place}", style="dim"))
    parts += [Text(f"! warning: {warning.text}. {warning.hint}", style="yellow") for warning in run.warnings]
    parts += [_layer_line(view) for view in act.layers]
    notable = [check for view in act.layers for check in view.notable]
    parts += [_checks(notable)] if notable else []
    parts += [_gate(run.gate, act)] if run.gate else []
    parts += [_decisions(act, names)] if act.decisions else []
    parts += [_failed(act.run.rollout.failed)] if act.run.rollout and act.run.rollout.failed else []
    parts += [_facts(act.tiles)] if act.tiles else []
    parts += [Text(f"? {note}", style="yellow") for note in run.notes]
    return Padding(Group(*parts), (1, 0, 0, 0))


def _layer_line(view: LayerView) -> Text:
    line = Text(f"{view.name:<12}")
    line.append_text(_badge(view.badge))
    if view.layer is not None:
        line.append(f"  {view.tally}, {format_duration(view.layer.seconds)}", style="dim")
    return line


def _checks(checks: list[CheckView]) -> Table:
    table = _table("Check", "Verdict", "Observed", "Interval", "Must be", "Rows", right=("Observed", "Rows"))
    for check in checks:
        verdict = check.verdict
        name = Text(verdict.check)
        if verdict.explanation:
            name.append(f"\n{verdict.explanation}", style="dim")
        outcome = _badge(check.badge)
        if verdict.unproven:
            outcome.append(f"\n{UNPROVEN.glyph} {UNPROVEN.word}", style="yellow")
        table.add_row(
            name,
            outcome,
            format_number(verdict.observed) if verdict.observed is not None else "",
            format_interval(verdict.interval) if verdict.interval else "",
            format_threshold(verdict) if verdict.threshold is not None else "",
            format_count(verdict.rows) if verdict.rows is not None else "",
        )
    return table


def _gate(gate: Gate, act: ActView) -> Text:
    line = Text(f"{'gate':<12}")
    line.append_text(_badge(badge_of(gate.outcome)))
    if gate.unproven:
        line.append(f" {UNPROVEN.glyph} {UNPROVEN.word}", style="yellow")
    line.append(f"  {act.gate_text}")
    if gate.difference is not None:
        line.append(f"  AUC difference {format_signed(gate.difference)}", style="bold")
        if gate.verdict and gate.verdict.interval:
            interval = gate.verdict.interval
            line.append(f" {format_interval(interval, signed=True)} {format_level(interval.level)}", style="dim")
    if act.gate_budget:
        line.append(f"  {act.gate_budget}", style="dim")
    for note in act.gate_notes:
        line.append(f"\n{'':<12}{note}", style="yellow")
    return line


def _decisions(act: ActView, names: Mapping[str, str]) -> Table:
    table = _table("After", "Decision", "Traffic", "Reason", right=("After",))
    rows = list_decisions(act.run.rollout, names) if act.run.rollout else ()
    for row in rows:
        table.add_row(row.after, Text(row.decision), Text(row.traffic), Text(row.reason))
    return table


def _failed(lines: Sequence[str]) -> Text:
    return Text("\n".join(["What failed:", *(f"  {line}" for line in lines)]))


def _release(release: Release, names: Mapping[str, str]) -> RenderableType:
    tags = ", ".join(tag for tag in release.tags if format_words(tag) != name_release(release))
    title = name_release(release).capitalize() + (f" ({tags})" if tags else "")
    table = Table.grid(padding=(0, 2))
    for line in list_materials(release, names):
        value = Text(" ".join(part for part in (shorten_digest(line.digest), line.text) if part))
        if line.dirty:
            value.append(f"  {DIRTY.glyph} {DIRTY.word}", style="yellow")
        table.add_row(Text(line.label, style="dim"), value)
    return Padding(Group(Rule(Text(title, style="bold"), align="left", style="dim"), table), (1, 0, 0, 0))
