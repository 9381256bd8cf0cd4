"""What happened in a few words and numbers: the headline, each act's key number, the tiles of a rollout. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.series import request_rate
from sluice.report.formats import (
    format_count,
    format_duration,
    format_number,
    format_signed,
    format_threshold,
    format_words,
)
from sluice.report.results import Act, Fact, Gate, Release, Report, Rollout, RunResult, Transition
from sluice.report.signs import sign_of
from sluice.report.text import read_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAYS_BACK = {"to_zero", "command_to_zero"}

SUB_SECOND = 1.0
"""Seconds within which a condemned canary must have left the proxy."""

_FAULTLESS = {"promoted", "kept", "passed", "unchanged", "restored"}

_LABELS = {
    "to_zero": "Detection to 0 % at the proxy",
    "command_to_zero": "Command to 0 % at the proxy",
    "stable_failed": "Failed requests of stable",
    "canary_failed": "Failed requests of the canary",
    "canary_requests": "Canary requests until the decision",
    "exposed": "Canary took traffic for",
}
_SOURCES: dict[str, tuple[tuple[str, float], ...]] = {
    "to_zero": (("decision_to_zero_seconds", 1.0), ("detection_to_zero_ms", 1e-3)),
    "command_to_zero": (("decision_to_zero_seconds", 1.0), ("seconds", 1.0)),
    "stable_failed": (("stable_failed", 1.0), ("stable_errors", 1.0)),
    "canary_failed": (("canary_failed", 1.0), ("canary_errors", 1.0)),
    "canary_requests": (("canary_requests", 1.0),),
    "exposed": (("exposed_seconds", 1.0),),
}
"""Number → where a rollout's record may hold it, with the factor to seconds or counts."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence about the whole, and its tone."""

    text: str
    tone: str


def name_release(release: Release) -> str:
    """``release 2``, or the start of its digest where it has no number."""
    return f"release {release.number}" if release.number is not None else release.digest[:19]


def name_releases(report: Report) -> dict[str, str]:
    """Release digest → name, of every release in the report."""
    return {release.digest: name_release(release) for release in report.all_releases()}


def write_headline(report: Report) -> Headline:
    """How the story went: by expectations where there are any, else by outcomes."""
    judged = [act.as_expected for act in report.acts if act.as_expected is not None]
    if judged:
        met, total = sum(judged), len(judged)
        if met == total:
            return Headline(f"{'All' if total > 1 else 'The'} {_count_acts(total)} ended as expected.", "ok")
        return Headline(f"{total - met} of {_count_acts(total)} did not end as expected.", "bad")
    if not report.acts:
        return Headline("No runs yet.", "quiet")
    if len(report.acts) == 1:
        sign = sign_of(report.acts[0].outcome)
        return Headline(f"{sign.word.capitalize()}.", sign.tone)
    bad = sum(act.outcome not in _FAULTLESS for act in report.acts)
    runs = len(report.acts)
    return (
        Headline(f"{bad} of {runs} runs ended otherwise than well.", "warn")
        if bad
        else Headline(f"All {runs} runs ended well.", "ok")
    )


def _count_acts(count: int) -> str:
    return "1 act" if count == 1 else f"{count} acts"


def find_key_number(run: RunResult) -> Fact | None:
    """The one number that tells most about how the run ended."""
    return _key_of_failure(run) or _key_of_rollback(run) or _key_of_gate(run.gate) or _key_of_layers(run)


def _key_of_failure(run: RunResult) -> Fact | None:
    if run.outcome not in {"failed", "fail"}:
        return None
    failed = next(((layer, verdict) for layer in run.layers for verdict in layer.verdicts if verdict.failed), None)
    if failed is None:
        step = next((step for step in run.steps if step.outcome == "fail"), None)
        return Fact(label="stopped at", value=format_words(step.name)) if step else None
    layer, verdict = failed
    observed = f"{format_number(verdict.observed)}, must be {format_threshold(verdict)}" if verdict.observed is not None else ""
    return Fact(label=f"layer {layer.layer}", value=verdict.check, detail=observed, tone="bad")


def _key_of_rollback(run: RunResult) -> Fact | None:
    if run.outcome not in {"rolled_back", "restored"} or run.rollout is None:
        return None
    for name, label in (("to_zero", "detection to 0 %"), ("command_to_zero", "command to 0 %")):
        if (took := find_number(name, run.rollout)) is not None:
            return Fact(label=label, value=format_duration(took), tone="ok")
    return None


def find_number(name: str, rollout: Rollout) -> float | None:
    """A number of a rollout, in seconds or as a count; None where its record does not hold it.

    What a person's command took is never told as if it had been detected.
    """
    back = _way_back(rollout)
    if name in _WAYS_BACK and (name == "command_to_zero") != (back is not None and back.word_of != ""):
        return None
    values = ((read_number(rollout.numbers.get(key)), factor) for key, factor in _SOURCES[name])
    found = next((value * factor for value, factor in values if value is not None), None)
    return _time_to_zero(back) if found is None and name in _WAYS_BACK else found


def _way_back(rollout: Rollout) -> Transition | None:
    """The last transition that took production back."""
    return next((move for move in reversed(rollout.transitions) if move.to in {"rolled_back", "aborted"}), None)


def _time_to_zero(back: Transition | None) -> float | None:
    """From the decision, or the command, to go back until the proxy had done it."""
    if back is None or back.decided_at is None or back.applied_at is None:
        return None
    return max(0.0, back.applied_at - back.decided_at)


def _key_of_gate(gate: Gate | None) -> Fact | None:
    if gate is None or (gate.difference is None and not gate.first):
        return None
    if gate.difference is None:
        return Fact(label="first champion", value="unproven")
    return Fact(label="AUC over champion", value=format_signed(gate.difference))


def _key_of_layers(run: RunResult) -> Fact | None:
    if run.rollout is not None and (rate := measure_traffic(run.rollout)) is not None:
        return Fact(label="traffic", value=f"{rate:.0f} requests/s")
    checks = sum(len(layer.verdicts) for layer in run.layers)
    return Fact(label="checks", value=format_count(checks)) if checks else None


def measure_traffic(rollout: Rollout) -> float | None:
    """Requests per second over all releases while samples were taken."""
    samples = [sample for sample in rollout.samples if sample.time is not None and sample.arms]
    digests = {digest: None for sample in samples for digest in sample.arms}
    requests = [[sample.arms[digest].requests or 0.0 for sample in samples if digest in sample.arms] for digest in digests]
    return request_rate([sample.time or 0.0 for sample in samples], requests)


def list_tiles(rollout: Rollout) -> tuple[Fact, ...]:
    """The numbers of a rollout: how quickly it went back, what failed where, how much traffic there was."""
    values = {name: value for name in _LABELS if (value := find_number(name, rollout)) is not None}
    tiles = [_show_tile(name, value, values) for name, value in values.items()]
    rate = measure_traffic(rollout)
    if rate is not None:
        tiles.append(Fact(label="Traffic", value=f"{rate:.0f} requests/s", detail="all releases together"))
    return tuple(tiles)


def _show_tile(name: str, value: float, values: Mapping[str, float]) -> Fact:
    if name in _WAYS_BACK:
        return Fact(label=_LABELS[name], value=format_duration(value), tone="ok" if value < SUB_SECOND else "bad")
    if name == "exposed":
        return Fact(label=_LABELS[name], value=format_duration(value))
    tone = ("bad" if value else "ok") if name == "stable_failed" else ""
    total = values.get("canary_requests") if name == "canary_failed" else None
    detail = f"of {format_count(round(total))} it was sent" if total else ""
    return Fact(label=_LABELS[name], value=format_count(round(value)), detail=detail, tone=tone)


def list_headline_tiles(report: Report) -> tuple[Fact, ...]:
    """The report's own facts, then the slowest way back that nobody commanded and what failed at stable over all acts.

    Where there was no such way back, the slowest by hand stands in its place, and says so.
    """
    rollouts = [act.run.rollout for act in report.acts if act.run.rollout is not None]
    tiles = list(report.facts)
    told = {fact.label for fact in tiles}
    detected = any(find_number("to_zero", rollout) is not None for rollout in rollouts)
    for name, merge in (("to_zero" if detected else "command_to_zero", max), ("stable_failed", sum)):
        values = [value for rollout in rollouts if (value := find_number(name, rollout)) is not None]
        if values and _LABELS[name] not in told:
            tiles.append(_show_tile(name, merge(values), {}))
    return tuple(tiles)


def describe_gate(gate: Gate) -> str:
    """The gate's decision in one sentence."""
    if gate.first:
        return "There was no champion to compare with: promoted, and stamped unproven."
    if gate.promote:
        return "The challenger's AUC is higher by more than the margin, and the difference's lower bound is above zero."
    if gate.verdict is not None and gate.verdict.detail:
        return gate.verdict.detail
    return "The champion is kept. The gate answers one bit and keeps the scores to itself, so that the holdout stays honest."


def describe_expectation(act: Act) -> str:
    """The sentence about what should happen; made from the expected outcome where none was written."""
    return act.expectation or (f"Should end {sign_of(act.expected).word}." if act.expected else "")
