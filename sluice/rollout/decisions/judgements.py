"""The judgement about a canary, and its numbers for people, from the evidence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.evidence import find_record, slow
from sluice.rollout.decisions.interim_looks import LEVEL, Judgement, next_look
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.statistics.proportions import clopper_pearson_interval

if TYPE_CHECKING:
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.evidence import Evidence
    from sluice.rollout.decisions.shadow_comparisons import Comparison


def judge(evidence: Evidence, settings: RolloutTable) -> Judgement:
    """Judge the canary by the evidence."""
    if evidence.e_value >= settings.evidence:
        return Judgement(failed=True, reason=f"e-value {evidence.e_value:.3g} reached {settings.evidence:g}: {_count(evidence)}")
    alarm = _describe_alarm(evidence, settings)
    if incident := _describe_incident(evidence, settings):
        return _judge_during_incident(evidence, settings, incident, alarm)
    requests = evidence.step_canary.requests
    if evidence.upper_bound is None:
        reason = f"inconclusive: {requests} of {settings.first_look} canary requests for the first look"
        return Judgement(alarm=alarm, reason=reason)
    bound = f"excess error rate at most {evidence.upper_bound:.2%} after {evidence.looked} requests, margin {settings.margin:.2%}"
    if evidence.passed and evidence.looked < settings.first_look:
        bound = f"the shadow's {evidence.shadow.requests} requests bound the excess error rate to {evidence.upper_bound:.2%}"
        return Judgement(passed=not alarm, alarm=alarm, reason=f"{bound}, and {evidence.looked} requests of users confirm it")
    if evidence.passed:
        return Judgement(passed=not alarm, alarm=alarm, reason=f"{bound}; e-value {evidence.e_value:.3g}")
    due = next_look(evidence.looked, settings.first_look, settings.look_growth)
    return Judgement(alarm=alarm, reason=f"inconclusive: {bound}; next look at {due} requests, {requests} so far")


def describe(evidence: Evidence, settings: RolloutTable) -> dict[str, Any]:
    """Return the numbers as plain JSON types, for transitions, samples and the status."""
    return {
        "canary_requests": evidence.canary.requests,
        "canary_errors": evidence.canary.errors,
        "stable_requests": evidence.stable.requests,
        "stable_errors": evidence.stable.errors,
        "step_canary_requests": evidence.step_canary.requests,
        "step_canary_errors": evidence.step_canary.errors,
        "step_stable_requests": evidence.step_stable.requests,
        "step_stable_errors": evidence.step_stable.errors,
        "canary_slow": evidence.canary.slow,
        "stable_slow": evidence.stable.slow,
        "canary_rejected": evidence.canary.rejected,
        "stable_rejected": evidence.stable.rejected,
        "e_value": evidence.e_value,
        "upper_bound": evidence.upper_bound,
        "looked": evidence.looked,
        "next_look": next_look(evidence.looked, settings.first_look, settings.look_growth),
    } | (_describe_shadow(evidence.shadow) if evidence.shadow.requests else {})


def predict_next_look(evidence: Evidence, share: int, rate: float | None, settings: RolloutTable) -> float | None:
    """Return the seconds until the next interim look of this step is expected; None if that is not known.

    Args:
        evidence: The evidence.
        share: Per cent of the traffic for the canary.
        rate: Requests a second to all releases; None if it is not known.
        settings: ``[rollout]``.
    """
    if not rate or not share:
        return None
    due = next_look(evidence.looked, settings.first_look, settings.look_growth)
    return max(0, due - evidence.step_canary.requests) * ALL_TRAFFIC / (rate * share)


def _describe_shadow(shadow: Comparison) -> dict[str, Any]:
    return {"shadow_requests": shadow.requests, "shadow_failed": shadow.failed, "shadow_difference": shadow.mean}


def _count(evidence: Evidence) -> str:
    """Describe the counts that the evidence rests on: errors, or slow answers if they weigh more."""
    canary, stable, what = evidence.canary, evidence.stable, "errors"
    errors, latency = (
        max(process.e_value for process in processes if process)
        for processes in ((evidence.process, evidence.retrial), (evidence.latency, evidence.latency_retrial))
    )
    if latency > errors:
        canary, stable, what = slow(canary), slow(stable), "slow"
    return f"{what} {canary.errors} of {canary.requests} at the canary, {stable.errors} of {stable.requests} at stable"


def _describe_alarm(evidence: Evidence, settings: RolloutTable) -> str:
    """Describe what raised the alarm of the bake; empty if there is none."""
    for alarm, counts, what in (
        (evidence.alarm, evidence.step_canary, "failed"),
        (evidence.latency_alarm, slow(evidence.step_canary), "were slow"),
    ):
        if alarm is not None and alarm.e_value >= settings.evidence:
            return f"{counts.errors} of {counts.requests} requests {what}, more than stable's record allows"
    return ""


def _describe_incident(evidence: Evidence, settings: RolloutTable) -> str:
    """Describe an incident of stable itself; empty if there is none. During an incident the canary does not advance.

    There is an incident if stable's error rate certainly exceeds its usual rate by more than the margin. A failure of both
    releases is not the canary's fault, and the comparison of the two does not show it.
    """
    recent, record = evidence.recent, find_record(evidence, settings)
    if not recent.errors:
        return ""
    usual_rate = clopper_pearson_interval(record.errors, record.requests, level=2 * LEVEL - 1).high if record else 0.0
    least = clopper_pearson_interval(recent.errors, recent.requests, level=2 * LEVEL - 1).low
    if least <= usual_rate + settings.margin:
        return ""
    return f"stable itself has an incident: {recent.errors} of its last {recent.requests} requests failed"


def _judge_during_incident(evidence: Evidence, settings: RolloutTable, incident: str, alarm: str) -> Judgement:
    """Judge while stable has an incident: only a canary that surely fixes it advances.

    Such a canary surely fails less often than stable, by an e-process of its own, and its error rate exceeds the rate that stable
    had before the incident by at most the margin, by the same bound as at any other look.
    """
    paused = f"paused, because {incident}; the canary does not advance meanwhile"
    better, bound = evidence.better, evidence.record_bound
    if alarm or better is None or better.e_value < settings.evidence or bound is None or bound > settings.margin:
        return Judgement(alarm=alarm, reason=paused)
    excess = f"its error rate exceeds stable's usual rate by at most {bound:.2%}, margin {settings.margin:.2%}"
    return Judgement(
        passed=True, reason=f"{incident}; the canary surely fails less often (e-value {better.e_value:.3g}), and {excess}"
    )
