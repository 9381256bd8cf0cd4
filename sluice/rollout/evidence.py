"""What the proxy's counters say about the canary. Pure: counters in, a judgement out.

Errors are 5xx, 400 and timeouts: the model server turns invalid outputs into 500s, and Seldon answers 400 where a
model gave nothing. Down: one e-process over all steps (``sluice.statistics.sequential``), looked at after every
window. Up: the 95 % upper bound of the canary's error rate minus stable's, looked at after 300, 450, 675, … canary
requests of a step. At 100 % there is no stable traffic to compare with: the bake holds the canary against the error
rate that was recorded of N-1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.rollout.comparisons import NO_COMPARISON, Comparison
from sluice.rollout.looks import LEVEL, Judgement, next_look
from sluice.rollout.states import ALL_TRAFFIC
from sluice.statistics.proportions import clopper_pearson_interval, upper_bound_difference
from sluice.statistics.sequential import ErrorEvidence, add_window, start_evidence, start_step

if TYPE_CHECKING:
    from sluice.project import RolloutTable
    from sluice.rollout.states import Request, State

LATENCY_WEIGHT = 0.1
"""Share of the evidence that slow answers have: a second guard, which costs the first one next to nothing."""

LATENCY_BURST = 3.0
"""Slow answers come together more than errors do: the logarithm of their evidence is divided by this."""

_MOST_LIKELY_ERROR = 0.999  # an alternative of 1 would let one success end all evidence


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that were answered, and errors among them.

    Attributes:
        requests: All of them.
        errors: Those that failed.
        timed: Those whose duration is known; a proxy may tell it later than the number.
        slow: Those of `timed` that took longer than ``rollout.slow_seconds``.
    """

    requests: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests, self.errors + other.errors, self.timed + other.timed, self.slow + other.slow
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.requests - other.requests, self.errors - other.errors, self.timed - other.timed, self.slow - other.slow
        )

    @property
    def rate(self) -> float | None:
        """Errors over requests; None without requests."""
        return self.errors / self.requests if self.requests else None


NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened between two looks at the proxy.

    Attributes:
        canary: The canary's requests.
        stable: The champion's requests.
        share: Per cent of the traffic that the proxy was drawing for the canary.
    """

    canary: Counts
    stable: Counts
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything counted for one rollout; kept beside the journal, so that a restarted supervisor goes on with it.

    Attributes:
        rollout: Id of the request.
        place: Name of the state that the step's counts belong to.
        process: The e-process over all steps.
        latency: The same of slow answers.
        canary: The canary's counts over the whole rollout.
        stable: Stable's counts over the whole rollout.
        step_canary: The canary's counts at this step.
        step_stable: Stable's counts at this step.
        looked: Canary requests of this step at the last look; 0 before the first.
        upper_bound: Upper bound of the difference of rates at the last look.
        passed: Whether the last look allows going up.
        usual: The champion's record when the rollout began.
        recent: Stable's counts of late; older ones fade.
        shadow: What the canary answered to requests that stable had answered, before it took traffic.
    """

    rollout: str
    place: str
    process: ErrorEvidence
    latency: ErrorEvidence
    canary: Counts = NO_COUNTS
    stable: Counts = NO_COUNTS
    step_canary: Counts = NO_COUNTS
    step_stable: Counts = NO_COUNTS
    looked: int = 0
    upper_bound: float | None = None
    passed: bool = False
    usual: Counts = NO_COUNTS
    recent: Counts = NO_COUNTS
    shadow: Comparison = NO_COMPARISON

    @property
    def e_value(self) -> float:
        """Errors and slow answers against the canary as one: a mean of two e-processes is one, and keeps its promise."""
        return (1 - LATENCY_WEIGHT) * self.process.e_value + LATENCY_WEIGHT * self.latency.e_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a restarted supervisor or controller goes on with.

    Attributes:
        evidence: Of the running rollout.
        recorded: Counts of each champion while it was one: the record that a bake holds a canary against.
    """

    evidence: Evidence | None = None
    recorded: Mapping[str, Counts] = field(default_factory=dict)


def count_since(before: Counts | None, now: Counts) -> Counts:
    """What cumulative counters grew by; counters that fell were reset and count from zero."""
    grown = now if before is None else now - before
    if min(dataclasses.astuple(grown)) < 0:
        grown = now
    # The counters are not read in one instant: an error may be seen before its request is.
    errors, slow = min(grown.errors, grown.requests), min(grown.slow, grown.timed)
    return Counts(grown.requests, errors, grown.timed, slow)


def enter_state(
    evidence: Evidence | None, request: Request, state: State, settings: RolloutTable, *, usual: Counts = NO_COUNTS
) -> Evidence:
    """The evidence for this state: begun with a new rollout, its step's counts begun with a new step.

    Args:
        evidence: What there is.
        request: The running rollout.
        state: Where it stands.
        settings: ``[rollout]``.
        usual: The champion's record; only a rollout that begins takes it.
    """
    if evidence is None or evidence.rollout != request.id:
        ratios = tuple(settings.tolerated_ratio * ratio for ratio in start_evidence().ratios)
        process = start_evidence(tolerated_ratio=settings.tolerated_ratio, ratios=ratios)
        latency = start_evidence(tolerated_ratio=settings.tolerated_ratio, ratios=ratios, burst=LATENCY_BURST)
        return Evidence(rollout=request.id, place=state.name, process=process, latency=latency, usual=usual)
    if evidence.place == state.name:
        return evidence
    return dataclasses.replace(
        evidence,
        place=state.name,
        process=start_step(evidence.process),
        latency=start_step(evidence.latency),
        step_canary=NO_COUNTS,
        step_stable=NO_COUNTS,
        looked=0,
        upper_bound=None,
        passed=False,
    )


def observe(evidence: Evidence, window: Window, settings: RolloutTable, *, recorded: Counts | None = None) -> Evidence:
    """Evidence after one more window.

    Args:
        evidence: What was known before.
        window: What the proxy counted since.
        settings: First look, growth and margin.
        recorded: N-1's counts over its whole time as champion, for the bake where this rollout saw too little of it.
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
        # The proxy draws each request's way: a window of a few requests would measure its share badly.
        share = window.share / ALL_TRAFFIC
        process = _compare(evidence.process, canary, stable, share)
        latency = _compare(evidence.latency, _slow(canary), _slow(stable), share)
        return _look(dataclasses.replace(after, process=process, latency=latency), after.step_stable, settings)
    reference = choose_reference(evidence.stable, recorded, settings)
    process = weigh_against_rate(evidence.process, canary, reference)
    latency = weigh_against_rate(evidence.latency, _slow(canary), _slow(reference))
    return _look(dataclasses.replace(after, process=process, latency=latency), reference, settings)


def choose_reference(stable: Counts, recorded: Counts | None, settings: RolloutTable) -> Counts:
    """N-1's record for the bake: this rollout's own where it is long enough for a look, else its whole time as champion."""
    return stable if recorded is None or stable.requests >= settings.first_look else recorded


def weigh_against_rate(process: ErrorEvidence, canary: Counts, reference: Counts) -> ErrorEvidence:
    """Continue the e-process at 100 %, where errors are held against N-1's recorded rate.

    Null: the canary's rate is at most the upper 95 % limit of that rate (times the tolerated ratio). Each of the
    process's ratios is an alternative, and the likelihood ratio of a request under it has a mean of at most 1 under the
    null, so it stays one e-process.
    """
    ceiling = clopper_pearson_interval(reference.errors, reference.requests, level=2 * LEVEL - 1).high
    no_worse = min(1.0, ceiling * process.tolerated_ratio)
    terms = []
    for term, ratio in zip(process.log_terms, process.ratios, strict=True):
        worse = min(ceiling * ratio, _MOST_LIKELY_ERROR)
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
    """What the evidence says now."""
    e_value = evidence.e_value
    requests = evidence.step_canary.requests
    canary, stable = evidence.canary, evidence.stable
    counted = f"errors {canary.errors} of {canary.requests} at the canary, {stable.errors} of {stable.requests} at stable"
    if evidence.latency.e_value > evidence.process.e_value:
        canary, stable = _slow(canary), _slow(stable)
        counted = f"slow {canary.errors} of {canary.requests} at the canary, {stable.errors} of {stable.requests} at stable"
    if e_value >= settings.evidence:
        return Judgement(condemned=True, reason=f"e-value {e_value:.3g} reached {settings.evidence:g}: {counted}")
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
    """The numbers as plain JSON types, for transitions, samples and status."""
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
        "e_value": evidence.e_value,
        "upper_bound": evidence.upper_bound,
        "looked": evidence.looked,
        "next_look": _next_look(evidence.looked, settings),
    } | (_describe_shadow(evidence.shadow) if evidence.shadow.requests else {})


def _describe_shadow(shadow: Comparison) -> dict[str, Any]:
    return {"shadow_requests": shadow.requests, "shadow_failed": shadow.failed, "shadow_difference": shadow.mean}


def _next_look(looked: int, settings: RolloutTable) -> int:
    """Canary requests of a step at which the next look is due."""
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
    """The same with slow answers as the errors."""
    return Counts(counts.timed, counts.slow)


def _fade(recent: Counts, settings: RolloutTable) -> Counts:
    """At most two first looks' worth of requests, the older half of them forgotten each time."""
    while recent.requests >= 2 * settings.first_look:
        recent = Counts(recent.requests // 2, recent.errors // 2)
    return recent


def _describe_incident(evidence: Evidence, settings: RolloutTable) -> str:
    """Whether stable itself fails more than it used to, surely and by more than the margin; then nobody goes up.

    What both arms suffer from is not the canary's doing, and the comparison of two arms does not see it.
    """
    recent, usual = evidence.recent, evidence.usual
    if not recent.errors:
        return ""
    usually = clopper_pearson_interval(usual.errors, usual.requests, level=2 * LEVEL - 1).high
    usually = usually if usual.requests >= settings.first_look else 0.0
    least = clopper_pearson_interval(recent.errors, recent.requests, level=2 * LEVEL - 1).low
    if least <= usually + settings.margin:
        return ""
    return f"frozen: stable itself fails, {recent.errors} of its last {recent.requests} requests; nobody goes up meanwhile"


def _look(evidence: Evidence, reference: Counts, settings: RolloutTable) -> Evidence:
    """Take the look that is due, if one is."""
    requests = evidence.step_canary.requests
    if requests < _next_look(evidence.looked, settings):
        return evidence
    bound = upper_bound_difference(evidence.step_canary.errors, requests, reference.errors, reference.requests, level=LEVEL)
    return dataclasses.replace(evidence, looked=requests, upper_bound=bound, passed=bound <= settings.margin)
