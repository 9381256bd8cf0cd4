"""Summaries of what happened: the headline, the key number of each act, and the most important numbers of a rollout. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.badges import badge_of, badge_of_run
from sluice.report.charts.series import request_rate
from sluice.report.formatting import (
    format_count,
    format_duration,
    format_moment,
    format_number,
    format_signed,
    format_threshold,
    format_words,
)
from sluice.report.results import Act, Fact, Gate, Release, Report, Rollout, RunResult, Transition
from sluice.report.safe_values import read_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROLLBACK_DURATIONS = {"to_zero", "command_to_zero"}

ROLLBACK_LIMIT_SECONDS = 1.0
"""Seconds within which the proxy must send nothing to the canary after a rollback was decided."""

WARN_AT = 0.8
"""The used share of the gate's budget from which the report warns."""

_GOOD_OUTCOMES = {"promoted", "kept", "passed", "unchanged", "restored"}

_LABELS = {
    "to_zero": "From detection to 0 % at the proxy",
    "command_to_zero": "From command to 0 % at the proxy",
    "stable_failed": "Failed requests at stable",
    "canary_failed": "Failed requests at the canary",
    "canary_requests": "Canary requests until the decision",
    "exposed": "Canary had traffic for",
}
_RECORD_KEYS: dict[str, tuple[tuple[str, float], ...]] = {
    "to_zero": (("decision_to_zero_seconds", 1.0), ("detection_to_zero_ms", 1e-3)),
    "command_to_zero": (("decision_to_zero_seconds", 1.0), ("seconds", 1.0)),
    "stable_failed": (("stable_failed", 1.0), ("stable_errors", 1.0)),
    "canary_failed": (("canary_failed", 1.0), ("canary_errors", 1.0)),
    "canary_requests": (("canary_requests", 1.0),),
    "exposed": (("exposed_seconds", 1.0),),
}
"""Number → the keys under which a rollout's record may hold it, each with the factor that converts it to seconds or a count."""

_REQUESTS_BEHIND = {"stable_failed": "stable_requests", "canary_failed": "canary_requests"}
"""Number of failed requests → the key of the number of requests among which they were counted."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence about the whole report, and its tone."""

    text: str
    tone: str


def name_release(release: Release) -> str:
    """Return ``release 2``, or the beginning of the digest if the release has no number."""
    return f"release {release.number}" if release.number is not None else release.digest[:19]


def name_releases(report: Report) -> dict[str, str]:
    """Return release digest → name for every release that the report describes or only names."""
    return {release.digest: name_release(release) for release in (*report.others, *report.all_releases()) if release.digest}


def write_headline(report: Report) -> Headline:
    """Say how many acts ended as expected. If nothing was expected, say how many runs ended well."""
    judged = [act.as_expected for act in report.acts if act.as_expected is not None]
    if judged:
        met, total = sum(judged), len(judged)
        if met == total:
            return Headline(f"{'All' if total > 1 else 'The'} {_count_acts(total)} ended as expected.", "ok")
        return Headline(f"{total - met} of {_count_acts(total)} did not end as expected.", "bad")
    if not report.acts:
        return Headline("No runs yet.", "quiet")
    if len(report.acts) == 1:
        badge = badge_of_run(report.acts[0].run)
        return Headline(f"{badge.word.capitalize()}.", badge.tone)
    bad = sum(act.outcome not in _GOOD_OUTCOMES for act in report.acts)
    runs = len(report.acts)
    return Headline(f"{bad} of {runs} runs did not end well.", "warn") if bad else Headline(f"All {runs} runs ended well.", "ok")


def _count_acts(count: int) -> str:
    return "1 act" if count == 1 else f"{count} acts"


def find_key_number(run: RunResult) -> Fact | None:
    """Return the most important number of a run: about its failure, its rollback, the gate, its traffic or its checks."""
    return (
        _key_number_of_failure(run) or _key_number_of_rollback(run) or _key_number_of_gate(run.gate) or _key_number_of_layers(run)
    )


def _key_number_of_failure(run: RunResult) -> Fact | None:
    if run.outcome not in {"failed", "fail"}:
        return None
    blocking = [(layer, verdict) for layer in run.layers for verdict in layer.verdicts if verdict.blocks]
    if not blocking:
        step = next((step for step in run.steps if step.outcome == "fail"), None)
        return Fact(label="stopped at step", value=format_words(step.name)) if step else None
    layer, verdict = next((found for found in blocking if found[1].failed), blocking[0])
    observed = f"{format_number(verdict.observed)}, must be {format_threshold(verdict)}" if verdict.observed is not None else ""
    inconclusive = "" if verdict.failed else " inconclusive"
    return Fact(label=f"layer {layer.layer}{inconclusive}", value=verdict.check, detail=observed, tone="bad")


def _key_number_of_rollback(run: RunResult) -> Fact | None:
    if run.outcome not in {"rolled_back", "restored"} or run.rollout is None:
        return None
    for name, label in (("to_zero", "from detection to 0 %"), ("command_to_zero", "from command to 0 %")):
        if (seconds := find_number(name, run.rollout)) is not None:
            return Fact(label=label, value=format_duration(seconds), tone="ok")
    return None


def find_number(name: str, rollout: Rollout) -> float | None:
    """Return a number of a rollout, in seconds or as a count; None if its record does not hold it.

    The time after a person's command is never reported as the time after a detection, or vice versa. A release that got no
    request has no number of failed requests.
    """
    if (requests := _REQUESTS_BEHIND.get(name)) and read_number(rollout.numbers.get(requests)) == 0:
        return None
    rollback = _last_rollback(rollout)
    commanded = rollback is not None and rollback.commanded_by != ""
    if name in _ROLLBACK_DURATIONS and (name == "command_to_zero") != commanded:
        return None
    values = ((read_number(rollout.numbers.get(key)), factor) for key, factor in _RECORD_KEYS[name])
    found = next((value * factor for value, factor in values if value is not None), None)
    return _time_to_zero(rollback) if found is None and name in _ROLLBACK_DURATIONS else found


def _last_rollback(rollout: Rollout) -> Transition | None:
    """Return the last transition that gave the traffic back to the release before."""
    return next((move for move in reversed(rollout.transitions) if move.to in {"rolled_back", "aborted"}), None)


def _time_to_zero(rollback: Transition | None) -> float | None:
    """Return the seconds from the decision or the command until the proxy applied the rollback."""
    if rollback is None or rollback.decided_at is None or rollback.applied_at is None:
        return None
    return max(0.0, rollback.applied_at - rollback.decided_at)


def _key_number_of_gate(gate: Gate | None) -> Fact | None:
    if gate is None or (gate.difference is None and not gate.first):
        return None
    if gate.difference is None:
        return Fact(label="first champion", value="unproven")
    return Fact(label="AUC above the champion's", value=format_signed(gate.difference))


def _key_number_of_layers(run: RunResult) -> Fact | None:
    if run.rollout is not None and (rate := measure_traffic(run.rollout)) is not None:
        return Fact(label="traffic", value=f"{rate:.0f} requests/s")
    checks = sum(len(layer.verdicts) for layer in run.layers)
    return Fact(label="checks", value=format_count(checks)) if checks else None


def measure_traffic(rollout: Rollout) -> float | None:
    """Return the requests per second to all releases while samples were taken; None if too few were taken."""
    samples = [sample for sample in rollout.samples if sample.time is not None and sample.arms]
    digests = {digest: None for sample in samples for digest in sample.arms}
    requests = [[sample.arms[digest].requests or 0.0 for sample in samples if digest in sample.arms] for digest in digests]
    return request_rate([sample.time or 0.0 for sample in samples], requests)


def list_tiles(rollout: Rollout) -> tuple[Fact, ...]:
    """Return the numbers of a rollout: how long a rollback took, how many requests failed, and how much traffic there was."""
    values = {name: value for name in _LABELS if (value := find_number(name, rollout)) is not None}
    tiles = [_show_tile(name, value, values) for name, value in values.items()]
    rate = measure_traffic(rollout)
    if rate is not None:
        tiles.append(Fact(label="Traffic", value=f"{rate:.0f} requests/s", detail="to all releases together"))
    return tuple(tiles)


def _show_tile(name: str, value: float, values: Mapping[str, float]) -> Fact:
    if name in _ROLLBACK_DURATIONS:
        return Fact(label=_LABELS[name], value=format_duration(value), tone="ok" if value < ROLLBACK_LIMIT_SECONDS else "bad")
    if name == "exposed":
        return Fact(label=_LABELS[name], value=format_duration(value))
    tone = ("bad" if value else "ok") if name == "stable_failed" else ""
    total = values.get("canary_requests") if name == "canary_failed" else None
    detail = f"of {format_count(round(total))} requests that it received" if total else ""
    return Fact(label=_LABELS[name], value=format_count(round(value)), detail=detail, tone=tone)


def list_headline_tiles(report: Report) -> tuple[Fact, ...]:
    """Return the report's own facts, the time of the slowest automatic rollback, and the failed requests at stable in all acts.

    If there was no automatic rollback, the time of the slowest rollback by command takes its place under its own label.
    """
    rollouts = [act.run.rollout for act in report.acts if act.run.rollout is not None]
    tiles = list(report.facts)
    known = {fact.label for fact in tiles}
    detected = any(find_number("to_zero", rollout) is not None for rollout in rollouts)
    for name, merge in (("to_zero" if detected else "command_to_zero", max), ("stable_failed", sum)):
        values = [value for rollout in rollouts if (value := find_number(name, rollout)) is not None]
        if values and _LABELS[name] not in known:
            tiles.append(_show_tile(name, merge(values), {}))
    return tuple(tiles)


def describe_gate(gate: Gate) -> str:
    """Say what the gate decided and why."""
    if gate.first:
        return "There is no champion to compare with, so the challenger is promoted and marked as unproven."
    if gate.promote:
        return "The challenger's AUC is higher by more than the margin, and the lower bound of the difference is above zero."
    if gate.verdict is not None and gate.verdict.detail:
        return gate.verdict.detail
    return (
        "The champion is kept. The gate says only yes or no and does not publish the scores, "
        "so that no later model can be tuned to the holdout."
    )


def describe_gate_budget(gate: Gate) -> str:
    """Say how many questions to the gate are used and left; empty if the record does not say it."""
    if gate.uses is None or gate.budget is None:
        return ""
    count = f"{gate.uses} of {gate.budget}"
    used = f"{count} questions used" if gate.outcome == "undecided" else f"question {count}"
    return f"{used} on this holdout" + ("" if gate.left is None else f", {gate.left} left")


def list_gate_notes(gate: Gate) -> tuple[str, ...]:
    """Return what else people must know about the gate: an override, a budget that ends soon, and what the gate can see."""
    notes = []
    if gate.override is not None:
        until = f" until {format_moment(gate.override.until)}" if gate.override.until is not None else ""
        notes.append(f"{gate.override.by} let this model pass the gate{until}: {gate.override.why}")
        notes.append("The gate's own answer above is unchanged.")
    if gate.left is not None and gate.budget and gate.budget - gate.left >= WARN_AT * gate.budget:
        notes.append(
            f"Only {gate.left} of {gate.budget} questions are left. `sluice gate status` says how to get more."
            if gate.left
            else "No question is left, so the gate judges no other challenger now. `sluice gate status` says what helps."
        )
    if gate.power and (gate.first or gate.outcome == "undecided"):
        notes.append(gate.power)
    return tuple(notes)


def describe_expectation(act: Act) -> str:
    """Return the sentence about what should happen. If the act has none, make one from the expected outcome."""
    return act.expectation or (f"The expected outcome is: {badge_of(act.expected).word}." if act.expected else "")
