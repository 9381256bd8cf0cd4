"""The evidence about a canary: the counters of the proxy in, evidence out. Pure. `judgements.py` judges it.

An error is a 5xx or a time-out: the model server turns invalid outputs into 500s. A 4xx is the client's fault unless stable
accepts the same request (``sluice.rollout.decisions.blame``). One e-process over all steps (``sluice.statistics.sequential``)
decides about rolling back, and is checked after every block of ``rollout.block_seconds``. The 95 % upper bound of the canary's
error rate minus stable's decides about advancing; it is computed after 300, 450, 675, … canary requests of a step. In the bake
there is little traffic of stable to compare with, or none. The canary is then also compared with the error rate that was recorded
of stable. That comparison cannot tell a fault of the canary from an incident of the platform, so it only raises an alarm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from sluice.rollout.decisions.interim_looks import LEVEL, next_look
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison
from sluice.rollout.decisions.states import ALL_TRAFFIC, Phase
from sluice.statistics.proportions import clopper_pearson_interval, upper_bound_difference
from sluice.statistics.sequential import (
    RATIOS,
    SMALL_RATIOS,
    ErrorEvidence,
    add_block,
    add_block_against_rate,
    start_evidence,
)

if TYPE_CHECKING:
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import Request, State

LATENCY_WEIGHT = 0.1
"""Share of the slow answers in the evidence: a second guard, which costs the evidence of errors almost nothing."""

LATENCY_BLOCK_SECONDS = 3.0
"""Slow answers come in longer bursts than errors do, because all requests that wait for a stalled server are slow."""

ALARM_BURST = 3.0
"""Size of the bursts that the alarm of the bake allows for."""

ALARM_LARGEST_FACTOR = 5.0
"""One block multiplies the e-value of the alarm by at most this, so that it takes three blocks to reach 100."""

BLOCK_TOLERANCE = 0.9
"""A block ends after this part of its time, because control rounds that should come once a second come a little earlier or later."""


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
        seconds: The time between the two observations.
    """

    canary: Counts
    stable: Counts
    share: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The windows since the end of the last block. When they are long enough, they become evidence together.

    Attributes:
        canary: The canary's requests.
        stable: Stable's requests.
        seconds: The time of the windows.
    """

    canary: Counts = NO_COUNTS
    stable: Counts = NO_COUNTS
    seconds: float = 0.0

    def extend(self, window: Window) -> Block:
        """Return the block with one more window."""
        return Block(
            canary=self.canary + window.canary, stable=self.stable + window.stable, seconds=self.seconds + window.seconds
        )

    def is_over(self, seconds: float) -> bool:
        """Return whether the block has about this length."""
        return self.seconds >= BLOCK_TOLERANCE * seconds


NO_BLOCK = Block()


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
        block: The windows that are not in `process` yet.
        latency_block: The windows that are not in `latency` yet.
        alarm: In the bake, the comparison of the canary's errors with the recorded error rate of stable; None outside.
        latency_alarm: The same for slow answers.
        better: The e-process that stable fails more often than the canary; None in evidence that earlier versions stored.
        record_bound: Like `upper_bound`, with `champion_record` in place of stable's present counts.
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
    block: Block = NO_BLOCK
    latency_block: Block = NO_BLOCK
    alarm: ErrorEvidence | None = None
    latency_alarm: ErrorEvidence | None = None
    better: ErrorEvidence | None = None
    record_bound: float | None = None

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
        evidence = _start(request, champion_record, settings)
    if evidence.state_name == state.name:
        return evidence
    baking = state.phase is Phase.BAKING
    return dataclasses.replace(
        evidence,
        state_name=state.name,
        step_canary=NO_COUNTS,
        step_stable=NO_COUNTS,
        looked=0,
        upper_bound=None,
        record_bound=None,
        passed=False,
        block=NO_BLOCK,
        latency_block=NO_BLOCK,
        alarm=_start_process(settings, burst=ALARM_BURST) if baking else None,
        latency_alarm=_start_process(settings, burst=ALARM_BURST) if baking else None,
    )


def _start(request: Request, champion_record: Counts, settings: RolloutTable) -> Evidence:
    return Evidence(
        rollout=request.id,
        state_name="",
        process=_start_process(settings),
        latency=_start_process(settings),
        champion_record=champion_record,
        better=start_evidence(),
    )


def _start_process(settings: RolloutTable, *, burst: float = 1.0) -> ErrorEvidence:
    """Return an e-process that tolerates what the settings tolerate."""
    ratios = (*SMALL_RATIOS, *RATIOS) if settings.tolerated_excess else RATIOS
    return start_evidence(
        tolerated_ratio=settings.tolerated_ratio,
        tolerated_excess=settings.tolerated_excess,
        ratios=[settings.tolerated_ratio * ratio for ratio in ratios],
        burst=burst,
    )


def add_window_to_evidence(
    evidence: Evidence, window: Window, settings: RolloutTable, *, recorded: Counts | None = None
) -> Evidence:
    """Return the evidence after one more window. The interim look that is due is taken at once; the e-processes wait for their blocks.

    Args:
        evidence: The evidence before.
        window: What the proxy counted since.
        settings: ``[rollout]``.
        recorded: N-1's counts over its term as champion. The bake uses them if this rollout saw too few requests of N-1.
    """
    after = dataclasses.replace(
        evidence,
        canary=evidence.canary + window.canary,
        stable=evidence.stable + window.stable,
        step_canary=evidence.step_canary + window.canary,
        step_stable=evidence.step_stable + window.stable,
        recent=_fade(evidence.recent + window.stable, settings),
        block=evidence.block.extend(window),
        latency_block=evidence.latency_block.extend(window),
    )
    baking = evidence.state_name == Phase.BAKING.value
    reference = choose_reference(after.stable, recorded, settings) if baking else after.step_stable
    share = window.share / ALL_TRAFFIC
    if after.block.is_over(settings.block_seconds):
        after = _end_block(after, share, reference)
    if after.latency_block.is_over(max(LATENCY_BLOCK_SECONDS, settings.block_seconds)):
        after = _end_latency_block(after, share, reference)
    return _look(after, reference, settings)


def choose_reference(stable: Counts, recorded: Counts | None, settings: RolloutTable) -> Counts:
    """Return N-1's counts for the bake: those of this rollout if they suffice for a look, otherwise those of its whole term."""
    return stable if recorded is None or stable.requests >= settings.first_look else recorded


def _end_block(evidence: Evidence, share: float, reference: Counts) -> Evidence:
    """Return the evidence with its block of errors, and without a block."""
    block = evidence.block
    return dataclasses.replace(
        evidence,
        process=_compare(evidence.process, block.canary, block.stable, share),
        better=evidence.better and _compare(evidence.better, block.stable, block.canary, 1 - share),
        alarm=_raise_alarm(evidence.alarm, block.canary, reference, evidence.recent),
        block=NO_BLOCK,
    )


def _end_latency_block(evidence: Evidence, share: float, reference: Counts) -> Evidence:
    """Return the evidence with its block of slow answers, and without a block."""
    block, recent = evidence.latency_block, slow(evidence.recent)
    return dataclasses.replace(
        evidence,
        latency=_compare(evidence.latency, slow(block.canary), slow(block.stable), share),
        latency_alarm=_raise_alarm(evidence.latency_alarm, slow(block.canary), slow(reference), recent),
        latency_block=NO_BLOCK,
    )


def _raise_alarm(alarm: ErrorEvidence | None, canary: Counts, *references: Counts) -> ErrorEvidence | None:
    """Continue the alarm of the bake. The rate to compare with is the highest upper 95 % limit of stable's known rates."""
    if alarm is None:
        return None
    limits = [
        clopper_pearson_interval(reference.errors, reference.requests, level=2 * LEVEL - 1).high
        for reference in references
        if reference.requests
    ]
    return add_block_against_rate(
        alarm,
        requests=canary.requests,
        errors=canary.errors,
        rate=max(limits, default=1.0),
        largest_factor=ALARM_LARGEST_FACTOR,
    )


def _compare(process: ErrorEvidence, canary: Counts, stable: Counts, share: float) -> ErrorEvidence:
    return add_block(
        process,
        canary_requests=canary.requests,
        canary_errors=canary.errors,
        stable_requests=stable.requests,
        stable_errors=stable.errors,
        share=share,
    )


def slow(counts: Counts) -> Counts:
    """Return counts in which the slow answers are the errors."""
    return Counts(counts.timed, counts.slow)


def find_record(evidence: Evidence, settings: RolloutTable) -> Counts | None:
    """Return stable's counts from before the rollout; None if they are too few to say what is usual."""
    record = evidence.champion_record
    return record if record.requests >= settings.first_look else None


def _fade(recent: Counts, settings: RolloutTable) -> Counts:
    """Halve the counts until they hold fewer requests than two first looks, so that old requests lose their weight."""
    while recent.requests >= 2 * settings.first_look:
        recent = Counts(recent.requests // 2, recent.errors // 2, recent.timed // 2, recent.slow // 2)
    return recent


def _look(evidence: Evidence, reference: Counts, settings: RolloutTable) -> Evidence:
    """Take the interim look that is due, if one is."""
    requests = evidence.step_canary.requests
    if requests < next_look(evidence.looked, settings.first_look, settings.look_growth):
        return evidence
    record = find_record(evidence, settings) or NO_COUNTS
    bound, record_bound = (
        upper_bound_difference(evidence.step_canary.errors, requests, stable.errors, stable.requests, level=LEVEL)
        for stable in (reference, record)
    )
    passed = bound <= settings.margin
    return dataclasses.replace(evidence, looked=requests, upper_bound=bound, record_bound=record_bound, passed=passed)
