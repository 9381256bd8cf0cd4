"""The decisions of a rollout as rows of a table: time, decision, traffic from then on, reason and evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.badges import badge_of
from sluice.report.charts.decision_marks import choose_time_window
from sluice.report.formatting import (
    MINUS,
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_words,
    shorten_digest,
)
from sluice.report.safe_values import read_count, read_number, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.report.results import Rollout, Transition

_SHARES = {"upper_bound", "margin"}
_NAMES = {"e_value": "e-value", "upper_bound": "upper bound of the excess error rate"}
_ARMS = ("canary", "stable")
_NOT_LISTED = {
    "looked",
    "next_look",
    "seconds_to_next_look",
    "requests_per_second",
    "traffic_seconds",
    "quiet_seconds",
    "busiest_requests_per_second",
    *(f"{step}{arm}_{count}" for arm in _ARMS for count in ("requests", "errors") for step in ("", "step_")),
}
"""Evidence that gets no clause of its own.

These are the counts in "2 of 896 canary requests failed", and numbers that only the plan needs.
"""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One row of the table: a transition as a person reads it.

    Attributes:
        after: Time since traffic first changed, for example ``8.4 s``.
        decision: The state that the rollout entered.
        traffic: Each release with its share of the traffic.
        reason: Why.
        evidence: The numbers that the decision rests on.
    """

    after: str
    decision: str
    traffic: str
    reason: str
    evidence: str


def list_decisions(rollout: Rollout, names: Mapping[str, str]) -> tuple[DecisionRow, ...]:
    """Return a row for each transition. Times count from the first change of traffic, as in the chart.

    Without a chart they count from the first transition.
    """
    moments = [moment for transition in rollout.transitions if (moment := transition.moment) is not None]
    window = choose_time_window(rollout)
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
    """Return the numbers that a decision rests on, each as one clause."""
    counts = [_describe_counts(evidence, arm) for arm in _ARMS]
    others = [_describe(name, value) for name, value in evidence.items() if name not in _NOT_LISTED and _is_listed(value)]
    return [clause for clause in [*counts, *others] if clause]


def _describe_counts(evidence: Mapping[str, object], arm: str) -> str:
    requests, errors = (read_count(evidence.get(f"{arm}_{count}")) for count in ("requests", "errors"))
    if requests is None:
        return ""
    return (
        f"{format_count(requests)} {arm} requests"
        if errors is None
        else f"{format_count(errors)} of {format_count(requests)} {arm} requests failed"
    )


def name_state(state: str) -> str:
    """Return the name of a state as a person reads it: ``rolled back`` for ``rolled_back``, ``step 2`` for ``step-2``."""
    return badge_of(state).word


def _is_listed(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""


def _describe(name: str, value: object) -> str:
    label = _NAMES.get(name) or format_words(name)
    number = read_number(value)
    if number is None:
        return f"{label} {read_text(value)}"
    if name in _SHARES or name.endswith("_rate"):
        return f"{label} {format_percent(number, decimals=2)}"
    return f"{label} {format_count(round(number)) if number == round(number) else format_number(number)}"
