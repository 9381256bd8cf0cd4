"""The evidence about a canary: the counters of the proxy in, a judgement out. Pure.

An error is a 5xx or a time-out: the model server turns invalid outputs into 500s. A 4xx is the client's fault unless stable
accepts the same request (``sluice.rollout.decisions.blame``). One e-process over all steps (``sluice.statistics.sequential``)
decides about rolling back, and is checked after every window. The 95 % upper bound of the canary's error rate minus stable's
decides about advancing; it is computed after 300, 450, 675, … canary requests of a step. At 100 % there is no stable traffic to
compare with, so the bake compares the canary with the error rate that was recorded of N-1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sluice.rollout.decisions.interim_looks import LEVEL, Judgement, next_look
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.statistics.proportions import clopper_pearson_interval, upper_bound_difference
from sluice.statistics.sequential import ErrorEvidence, add_window, start_evidence, start_step

if TYPE_CHECKING:
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import Request, State

LATENCY_WEIGHT = 0.1
"""Share of the slow answers in the evidence: a second guard, which costs the evidence of errors almost nothing."""

LATENCY_BURST = 3.0
"""Slow answers come in bursts more than errors do, so the logarithm of their evidence is divided by this."""

_MAX_ERROR_RATE = 0.999  # with an alternative of 1, one success would end all evidence


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that the release is answerable for, and the errors among them.

    Attributes:
        requests: Requests, without those that a client caused to fail.
        errors: Requests that failed by the release's fault.
        timed: Requests whose duration is known. A proxy may report the duration later than the request.
        slow: Requests among `timed` that took longer than ``rollout.slow_seconds``.
        rejected: Requests that were answered with a 4xx. They are shown and never judged. Those that stable accepts are among
            `requests` and `errors` as well.
    """

    requests: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.timed + other.timed,
            self.slow + other.slow,
            self.rejected + other.rejected,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.requests - other.requests,
            self.errors - other.errors,
            self.timed - other.timed,
            self.slow - other.slow,
            self.rejected - other.rejected,
        )

    @property
    def rate(self) -> float | None:
        """Errors divided by requests; None without requests."""
        return self.errors / self.requests if self.requests else None


NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The requests between two observations.

    Attributes:
        canary: The canary's requests.
        stable: Stable's requests.
        share: Per cent of the traffic that the proxy sent to the canary.
    """

    canary: Counts
    stable: Counts
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was counted for one rollout.

    It is stored beside the journal, so that a restarted process continues with it. Where a field has an alias, the alias is its
    key in stored checkpoints.

    Attributes:
        rollout: Id of the request.
        state_name: Name of the state that the counts of the step belong to.
        process: The e-process over all steps, for errors.
        latency: The e-process over all steps, for slow answers.
        canary: The canary's counts over the whole rollout.
        stable: Stable's counts over the whole rollout.
        step_canary: The canary's counts at this step.
        step_stable: Stable's counts at this step.
        looked: The canary's requests at this step when the last interim look was taken; 0 before the first.
        upper_bound: Upper bound of the difference of the error rates at the last interim look.
        passed: Whether the last interim look lets the canary advance.
        champion_record: The champion's counts over its term, when the rollout began.
        recent: Stable's latest counts; older ones lose their weight.
        shadow: The comparison of the canary's answers with stable's, from before the canary took traffic.
    """

    rollout: str
    state_name: Annotated[str, Field(alias="place")]
    process: ErrorEvidence
    latency: ErrorEvidence
    canary: Counts = NO_COUNTS
    stable: Counts = NO_COUNTS
    step_canary: Counts = NO_COUNTS
    step_stable: Counts = NO_COUNTS
    looked: int = 0
    upper_bound: float | None = None
    passed: bool = False
    champion_record: Annotated[Counts, Field(alias="usual")] = NO_COUNTS
    recent: Counts = NO_COUNTS
    shadow: Comparison = NO_COMPARISON

    @property
    def e_value(self) -> float:
        """The combined evidence of errors and slow answers. A weighted mean of two e-processes is an e-process."""
        return (1 - LATENCY_WEIGHT) * self.process.e_value + LATENCY_WEIGHT * self.latency.e_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The evidence with which a restarted supervisor or controller continues.

    Attributes:
        evidence: The evidence of the running rollout; None if none is running.
        recorded: Counts of each champion during its term. The bake compares a canary with this record.
    """

    evidence: Evidence | None = None
    recorded: Mapping[str, Counts] = field(default_factory=dict)


def count_since(before: Counts | None, now: Counts) -> Counts:
    """Return the growth of cumulative counters. Counters that fell were reset, so they count from zero."""
    grown = now if before is None else now - before
    if min(dataclasses.astuple(grown)) < 0:
        grown = now
    # The proxy does not read its counters at one instant, so an error may be visible before its request is.
    errors, slow = min(grown.errors, grown.requests), min(grown.slow, grown.timed)
    return Counts(grown.requests, errors, grown.timed, slow, grown.rejected)


def enter_state(
    evidence: Evidence | None, request: Request, state: State, settings: RolloutTable, *, champion_record: Counts = NO_COUNTS
) -> Evidence:
    """Return the evidence for a state. A new rollout starts new evidence, and a new step starts new counts of the step.

    Args:
        evidence: The evidence so far; None if there is none.
        request: The request of the running rollout.
        state: Its state.
        settings: ``[rollout]``.
        champion_record: The champion's counts over its term; only new evidence takes it over.
    """
    if evidence is None or evidence.rollout != request.id:
        ratios = tuple(settings.tolerated_ratio * ratio for ratio in start_evidence().ratios)
        process = start_evidence(tolerated_ratio=settings.tolerated_ratio, ratios=ratios)
        latency = start_evidence(tolerated_ratio=settings.tolerated_ratio, ratios=ratios, burst=LATENCY_BURST)
        return Evidence(
            rollout=request.id, state_name=state.name, process=process, latency=latency, champion_record=champion_record
        )
    if evidence.state_name == state.name:
        return evidence
    return dataclasses.replace(
        evidence,
        state_name=state.name,
        process=start_step(evidence.process),
        latency=start_step(evidence.latency),
        step_canary=NO_COUNTS,
        step_stable=NO_COUNTS,
        looked=0,
        upper_bound=None,
        passed=False,
    )


def add_window_to_evidence(
    evidence: Evidence, window: Window, settings: RolloutTable, *, recorded: Counts | None = None
) -> Evidence:
    """Return the evidence after one more window.

    Args:
        evidence: The evidence before.
        window: What the proxy counted since.
        settings: ``[rollout]``, for the first look, the growth and the margin.
        recorded: N-1's counts over its term as champion. The bake uses them if this rollout saw too few requests of N-1.
    """
    after = dataclasses.replace(
        evidence,
        canary=evidence.canary + window.canary,
        stable=evidence.stable + window.stable,
        step_canary=evidence.step_canary + window.canary,
        step_stable=evidence.step_stable + window.stable,
        recent=_fade(evidence.recent + window.stable, settings),
    )
    canary, stable = window.canary, window.stable
    if window.share < ALL_TRAFFIC:
        # The proxy draws the release of each request at random, so a window of a few requests would measure the share badly.
        share = window.share / ALL_TRAFFIC
        process = _compare(evidence.process, canary, stable, share)
        latency = _compare(evidence.latency, _slow(canary), _slow(stable), share)
        return _look(dataclasses.replace(after, process=process, latency=latency), after.step_stable, settings)
    reference = choose_reference(evidence.stable, recorded, settings)
    process = compare_with_rate(evidence.process, canary, reference)
    latency = compare_with_rate(evidence.latency, _slow(canary), _slow(reference))
    return _look(dataclasses.replace(after, process=process, latency=latency), reference, settings)


def choose_reference(stable: Counts, recorded: Counts | None, settings: RolloutTable) -> Counts:
    """Return N-1's counts for the bake: those of this rollout if they suffice for a look, otherwise those of its whole term."""
    return stable if recorded is None or stable.requests >= settings.first_look else recorded


def compare_with_rate(process: ErrorEvidence, canary: Counts, reference: Counts) -> ErrorEvidence:
    """Continue the e-process at 100 %, where N-1's recorded error rate is the reference.

    The null hypothesis is that the canary's rate is at most the upper 95 % limit of N-1's rate, times the tolerated ratio. Each
    ratio of the process is an alternative. The likelihood ratio of a request under it has a mean of at most 1 under the null
    hypothesis, so the result is an e-process again.
    """
    ceiling = clopper_pearson_interval(reference.errors, reference.requests, level=2 * LEVEL - 1).high
    no_worse = min(1.0, ceiling * process.tolerated_ratio)
    terms = []
    for term, ratio in zip(process.log_terms, process.ratios, strict=True):
        worse = min(ceiling * ratio, _MAX_ERROR_RATE)
        if worse <= no_worse:
            terms.append(term)
            continue
        gain, loss = math.log(worse / no_worse), math.log1p(-worse) - math.log1p(-no_worse)
        terms.append(term + canary.errors * gain + (canary.requests - canary.errors) * loss)
    return dataclasses.replace(
        process,
        log_terms=tuple(terms),
        canary_requests=process.canary_requests + canary.requests,
        canary_errors=process.canary_errors + canary.errors,
    )


def judge(evidence: Evidence, settings: RolloutTable) -> Judgement:
    """Judge the canary by the evidence."""
    e_value = evidence.e_value
    requests = evidence.step_canary.requests
    canary, stable = evidence.canary, evidence.stable
    counted = f"errors {canary.errors} of {canary.requests} at the canary, {stable.errors} of {stable.requests} at stable"
    if evidence.latency.e_value > evidence.process.e_value:
        canary, stable = _slow(canary), _slow(stable)
        counted = f"slow {canary.errors} of {canary.requests} at the canary, {stable.errors} of {stable.requests} at stable"
    if e_value >= settings.evidence:
        return Judgement(failed=True, reason=f"e-value {e_value:.3g} reached {settings.evidence:g}: {counted}")
    if incident := _describe_incident(evidence, settings):
        return Judgement(reason=incident)
    if evidence.upper_bound is None:
        return Judgement(reason=f"inconclusive: {requests} of {settings.first_look} canary requests for the first look")
    bound = f"excess error rate at most {evidence.upper_bound:.2%} after {evidence.looked} requests, margin {settings.margin:.2%}"
    if evidence.passed:
        return Judgement(passed=True, reason=f"{bound}; e-value {e_value:.3g}")
    return Judgement(
        reason=f"inconclusive: {bound}; next look at {_next_look(evidence.looked, settings)} requests, {requests} so far"
    )


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
        "next_look": _next_look(evidence.looked, settings),
    } | (_describe_shadow(evidence.shadow) if evidence.shadow.requests else {})


def _describe_shadow(shadow: Comparison) -> dict[str, Any]:
    return {"shadow_requests": shadow.requests, "shadow_failed": shadow.failed, "shadow_difference": shadow.mean}


def _next_look(looked: int, settings: RolloutTable) -> int:
    """Return the number of canary requests at a step at which the next interim look is due."""
    return next_look(looked, settings.first_look, settings.look_growth)


def _compare(process: ErrorEvidence, canary: Counts, stable: Counts, share: float) -> ErrorEvidence:
    return add_window(
        process,
        canary_requests=canary.requests,
        canary_errors=canary.errors,
        stable_requests=stable.requests,
        stable_errors=stable.errors,
        share=share,
    )


def _slow(counts: Counts) -> Counts:
    """Return counts in which the slow answers are the errors."""
    return Counts(counts.timed, counts.slow)


def _fade(recent: Counts, settings: RolloutTable) -> Counts:
    """Halve the counts until they hold fewer requests than two first looks, so that old requests lose their weight."""
    while recent.requests >= 2 * settings.first_look:
        recent = Counts(recent.requests // 2, recent.errors // 2)
    return recent


def _describe_incident(evidence: Evidence, settings: RolloutTable) -> str:
    """Describe an incident of stable itself; empty if there is none. During an incident the canary does not advance.

    There is an incident if stable's error rate certainly exceeds its usual rate by more than the margin. A failure of both
    releases is not the canary's fault, and the comparison of the two does not show it.
    """
    recent, record = evidence.recent, evidence.champion_record
    if not recent.errors:
        return ""
    usual_rate = clopper_pearson_interval(record.errors, record.requests, level=2 * LEVEL - 1).high
    usual_rate = usual_rate if record.requests >= settings.first_look else 0.0
    least = clopper_pearson_interval(recent.errors, recent.requests, level=2 * LEVEL - 1).low
    if least <= usual_rate + settings.margin:
        return ""
    failed = f"{recent.errors} of its last {recent.requests} requests failed"
    return f"paused, because stable itself has an incident: {failed}; the canary does not advance meanwhile"


def _look(evidence: Evidence, reference: Counts, settings: RolloutTable) -> Evidence:
    """Take the interim look that is due, if one is."""
    requests = evidence.step_canary.requests
    if requests < _next_look(evidence.looked, settings):
        return evidence
    bound = upper_bound_difference(evidence.step_canary.errors, requests, reference.errors, reference.requests, level=LEVEL)
    return dataclasses.replace(evidence, looked=requests, upper_bound=bound, passed=bound <= settings.margin)
