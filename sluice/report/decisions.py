"""The decisions of a rollout as rows of a table: when, what, which traffic, why, on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.marks import choose_window_of
from sluice.report.formats import (
    MINUS,
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_words,
    shorten_digest,
)
from sluice.report.signs import sign_of
from sluice.report.text import read_count, read_number, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.report.results import Rollout, Transition

_SHARES = {"upper_bound", "margin"}
_NAMES = {"e_value": "e-value", "upper_bound": "upper bound of the excess error rate"}
_ARMS = ("canary", "stable")
_UNTOLD = {
    "looked",
    "next_look",
    *(f"{step}{arm}_{count}" for arm in _ARMS for count in ("requests", "errors") for step in ("", "step_")),
}
"""Counts that are told as "2 of 896 canary requests failed", and those that only the plan needs."""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One transition in words."""

    after: str
    decision: str
    traffic: str
    reason: str
    evidence: str


def list_decisions(rollout: Rollout, names: Mapping[str, str]) -> tuple[DecisionRow, ...]:
    """Every transition, timed as the chart is: from the first change of traffic, or from the first of them."""
    moments = [moment for transition in rollout.transitions if (moment := transition.moment) is not None]
    window = choose_window_of(rollout)
    begin = window.zero if window is not None else min(moments, default=None)
    return tuple(_read_row(transition, begin, names) for transition in rollout.transitions)


def _read_row(transition: Transition, begin: float | None, names: Mapping[str, str]) -> DecisionRow:
    moment = transition.moment
    after = moment - begin if moment is not None and begin is not None else None
    shares = sorted(transition.weights.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return DecisionRow(
        after=f"{MINUS}{format_duration(-after)}" if after is not None and after < 0 else format_duration(after),
        decision=name_state(transition.to),
        traffic=", ".join(f"{names.get(digest) or shorten_digest(digest)} {share:g} %" for digest, share in shares if share),
        reason=transition.reason,
        evidence=" · ".join(describe_evidence(transition.evidence)),
    )


def describe_evidence(evidence: Mapping[str, object]) -> list[str]:
    """What a decision rests on, in clauses."""
    counts = [_describe_counts(evidence, arm) for arm in _ARMS]
    others = [_describe(name, value) for name, value in evidence.items() if name not in _UNTOLD and _is_told(value)]
    return [clause for clause in [*counts, *others] if clause]


def _describe_counts(evidence: Mapping[str, object], arm: str) -> str:
    asked, failed = (read_count(evidence.get(f"{arm}_{count}")) for count in ("requests", "errors"))
    if asked is None:
        return ""
    return (
        f"{format_count(asked)} {arm} requests"
        if failed is None
        else f"{format_count(failed)} of {format_count(asked)} {arm} requests failed"
    )


def name_state(state: str) -> str:
    """``rolled_back`` and ``step-2`` for a person."""
    return sign_of(state).word


def _is_told(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""


def _describe(name: str, value: object) -> str:
    label = _NAMES.get(name) or format_words(name)
    number = read_number(value)
    if number is None:
        return f"{label} {read_text(value)}"
    if name in _SHARES or name.endswith("_rate"):
        return f"{label} {format_percent(number, decimals=2)}"
    return f"{label} {format_count(round(number)) if number == round(number) else format_number(number)}"
