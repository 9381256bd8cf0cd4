"""The report as GitHub-flavoured Markdown, for the summary of a CI job. Text from records is escaped, so it stays text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluice.report.badges import DIRTY, UNPROVEN, Badge, badge_of
from sluice.report.formatting import (
    format_count,
    format_datetime,
    format_duration,
    format_interval,
    format_number,
    format_signed,
    format_threshold,
    is_digest,
    shorten_digest,
)
from sluice.report.materials import Material, list_materials
from sluice.report.safe_values import first_line
from sluice.report.summary import list_headline_tiles, name_release, name_releases, write_headline
from sluice.report.views import ActView, CheckView, view_act

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.report.results import Fact, Gate, Release, Report

_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~&@$!]|^[-+=]|:(?=//)|(?<=www)\.")
_LIST_NUMBER = re.compile(r"^(\d+)([.)])")


def render_markdown(report: Report) -> str:
    """Render the report as one Markdown document that ends with a newline. The same report always gives the same text."""
    names = name_releases(report)
    acts = [view_act(place, act, names) for place, act in enumerate(report.acts, start=1)]
    headline = write_headline(report)
    lines = [f"# {escape(report.title)}", "", f"**{escape(headline.text)}**", ""]
    lines += _facts(list_headline_tiles(report))
    lines += _overview(acts)
    for act in acts:
        lines += _act(act)
    lines += _releases(report, names)
    lines += [f"<sub>Made by Sluice on {format_datetime(report.generated)}.</sub>"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, on one line: no markup, no HTML, no link."""
    line = _MARKUP.sub(lambda match: f"&#{ord(match[0])};", " ".join(text.split()))
    return _LIST_NUMBER.sub(r"\1\\\2", line)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(' --- ' for _ in head)}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _badge(badge: Badge) -> str:
    return f"{badge.glyph} {escape(badge.word)}"


def _code(text: str) -> str:
    """Return a digest as code. Other text is escaped, because a backtick in it would end the code."""
    return f"`{shorten_digest(text)}`" if is_digest(text) else escape(text)


def _name(text: str) -> str:
    """Return an identifier as code. It is escaped instead if a table cannot hold it as code."""
    return escape(text) if not text or set(text) & set("`|\n\t") else f"`{text}`"


def _facts(facts: Sequence[Fact]) -> list[str]:
    glyphs = {"ok": "✓ ", "bad": "✗ "}
    rows = [(escape(fact.label), f"{glyphs.get(fact.tone, '')}**{escape(fact.value)}**", escape(fact.detail)) for fact in facts]
    return _table(("Number", "Value", ""), rows)


def _overview(acts: Sequence[ActView]) -> list[str]:
    rows = []
    for act in acts:
        expected = f"<br>{_badge(act.expected)}" if act.expected else ""
        key = f"**{escape(act.key.value)}** {escape(act.key.label)}" if act.key else ""
        rows.append((str(act.place), escape(act.act.title), _badge(act.badge) + expected, key, format_duration(act.run.duration)))
    return _table(("#", "What was tried", "Outcome", "Key number", "Duration"), rows)


def _act(act: ActView) -> list[str]:
    run = act.run
    lines = [f"## {act.place}. {escape(act.act.title)}", ""]
    if act.expectation:
        lines += [escape(act.expectation), ""]
    lines += [f"{_badge(act.badge)}{': ' + escape(run.reason) if run.reason else ''}", ""]
    if run.commit:
        dirty = f" ({_badge(DIRTY)})" if run.dirty else ""
        lines += [f"Commit {_code(run.commit)}{dirty} {escape(first_line(run.message))}", ""]
    if run.snapshot and run.snapshot.place:
        lines += [f"Data {_code(run.snapshot.digest)} {escape(run.snapshot.place)}", ""]
    for warning in run.warnings:
        lines += [f"> **! Warning**: {escape(warning.text)}. {escape(warning.hint)}", ""]
    lines += [line for note in run.notes for line in (f"> ? {escape(note)}", "")]
    lines += _layers(act)
    if run.gate:
        lines += _gate(run.gate, act)
    rows = [tuple(escape(cell) for cell in (row.after, row.decision, row.traffic, row.reason)) for row in act.decisions]
    lines += _table(("After", "Decision", "Traffic", "Reason"), rows)
    if run.rollout and run.rollout.failed:
        lines += ["**What failed**", "", *(f"- {escape(line)}" for line in run.rollout.failed), ""]
    return lines + _facts(act.tiles)


def _layers(act: ActView) -> list[str]:
    rows = [
        (view.name, _badge(view.badge), escape(view.tally), format_duration(view.layer.seconds) if view.layer else "")
        for view in act.layers
    ]
    lines = _table(("Layer", "Verdict", "Checks", "Duration"), rows)
    return lines + _checks([check for view in act.layers for check in view.notable])


def _checks(checks: Sequence[CheckView]) -> list[str]:
    rows = []
    for check in checks:
        verdict = check.verdict
        unproven = f" {_badge(UNPROVEN)}" if verdict.unproven else ""
        rows.append(
            (
                _name(verdict.check) + (f"<br>{escape(verdict.explanation)}" if verdict.explanation else ""),
                _badge(check.badge) + unproven,
                format_number(verdict.observed),
                format_interval(verdict.interval),
                escape(format_threshold(verdict)),
                format_count(verdict.rows),
            )
        )
    return _table(("Check", "Verdict", "Observed", "Interval", "Must be", "Rows"), rows)


def _gate(gate: Gate, act: ActView) -> list[str]:
    text = f"**Gate**: {_badge(badge_of(gate.outcome))}. {escape(act.gate_text)}"
    if gate.difference is not None:
        text += f" The AUC difference is {format_signed(gate.difference)}"
        interval = gate.verdict.interval if gate.verdict else None
        text += f" {format_interval(interval, signed=True)}." if interval else "."
    if act.gate_budget:
        text += f" {act.gate_budget.capitalize()}."
    return [text, "", *(f"- {escape(note)}" for note in act.gate_notes), *([""] if act.gate_notes else [])]


def _releases(report: Report, names: Mapping[str, str]) -> list[str]:
    releases = report.all_releases()
    if not releases:
        return []
    return ["## What each release was made from", "", *(line for release in releases for line in _release(release, names))]


def _release(release: Release, names: Mapping[str, str]) -> list[str]:
    tags = f" ({', '.join(escape(tag) for tag in release.tags)})" if release.tags else ""
    rows = [(escape(line.label), _material(line)) for line in list_materials(release, names)]
    return [f"**{escape(name_release(release).capitalize())}**{tags}", "", *_table(("Part", "Value"), rows)]


def _material(line: Material) -> str:
    parts = [_code(line.digest) if line.digest else "", escape(line.text), _badge(DIRTY) if line.dirty else ""]
    return " ".join(part for part in parts if part)
