"""Adding to the evidence about a canary: a new state of the rollout, and a window of the proxy's counters. Pure.

One e-process over all steps (``sluice.statistics.sequential``) decides about rolling back, and is checked after every block of
``rollout.block_seconds``. The 95 % upper bound of the canary's error rate minus stable's decides about advancing; it is computed
after 300, 450, 675, … canary requests of a step. In the bake there is little traffic of stable to compare with, or none. The
canary is then also compared with the error rate that was recorded of stable. That comparison cannot tell a fault of the canary
from an incident of the platform, so it only raises an alarm.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.rollout.decisions.evidence import NO_BLOCK, NO_COUNTS, Counts, Evidence, find_record, slow
from sluice.rollout.decisions.expected_times import LIVE_PART
from sluice.rollout.decisions.interim_looks import LEVEL, next_look
from sluice.rollout.decisions.states import ALL_TRAFFIC, Phase, State
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
    from sluice.rollout.decisions.evidence import Window
    from sluice.rollout.decisions.states import Request

FIRST_STEP = State(phase=Phase.STEP, step=0)

LATENCY_BLOCK_SECONDS = 2.0
"""Slow answers come in longer bursts than errors do, because all requests that wait for a stalled server are slow."""

ALARM_BURST = 3.0
"""Size of the bursts that the alarm of the bake allows for."""

ALARM_LARGEST_FACTOR = 12.0
"""A block of errors multiplies the e-value of the alarm by at most this, so that it takes two blocks to reach 100."""

LATENCY_ALARM_LARGEST_FACTOR = 5.0
"""For slow answers it takes three blocks, so that a stall at the border of two blocks raises no alarm."""


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
    baking = state.phase is Phase.BAKING
    if evidence.state_name == state.name and (evidence.alarm is not None) == baking:
        return evidence  # an earlier version stored the evidence of a bake without an alarm, so that bake begins anew
    if evidence.state_name == Phase.BAKING.value and not baking:
        evidence = dataclasses.replace(evidence, retrial=_start_process(settings), latency_retrial=_start_process(settings))
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
    """Return the evidence after one more window. An interim look that is due is taken at once. The e-processes wait for blocks.

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
    block, present = evidence.block, _count_present(evidence.retrial, evidence.recent)
    return dataclasses.replace(
        evidence,
        process=_compare(evidence.process, block.canary, block.stable, share, joins_bursts=True),
        retrial=evidence.retrial and _compare(evidence.retrial, block.canary, block.stable, share, joins_bursts=True),
        better=evidence.better and _compare(evidence.better, block.stable, block.canary, 1 - share),
        alarm=_raise_alarm(evidence.alarm, ALARM_LARGEST_FACTOR, block.canary, reference, present),
        block=NO_BLOCK,
    )


def _end_latency_block(evidence: Evidence, share: float, reference: Counts) -> Evidence:
    """Return the evidence with its block of slow answers, and without a block."""
    block, present = evidence.latency_block, _count_present(evidence.latency_retrial, slow(evidence.recent))
    return dataclasses.replace(
        evidence,
        latency=_compare(evidence.latency, slow(block.canary), slow(block.stable), share),
        latency_retrial=evidence.latency_retrial
        and _compare(evidence.latency_retrial, slow(block.canary), slow(block.stable), share),
        latency_alarm=_raise_alarm(
            evidence.latency_alarm, LATENCY_ALARM_LARGEST_FACTOR, slow(block.canary), slow(reference), present
        ),
        latency_block=NO_BLOCK,
    )


def _count_present(retrial: ErrorEvidence | None, recent: Counts) -> Counts:
    """Return stable's counts since an alarm moved the canary back; its latest counts if none did."""
    return recent if retrial is None else Counts(retrial.stable_requests, retrial.stable_errors)


def _raise_alarm(
    alarm: ErrorEvidence | None, largest_factor: float, canary: Counts, reference: Counts, present: Counts
) -> ErrorEvidence | None:
    """Continue the alarm of the bake.

    The rate to compare with is the upper 95 % limit of stable's recorded rate. If stable surely fails more often at present, for
    example because an incident of the platform moved the canary back before, it is the upper limit of the present rate.
    """
    if alarm is None:
        return None
    usual, now = (
        clopper_pearson_interval(counts.errors, counts.requests, level=2 * LEVEL - 1) for counts in (reference, present)
    )
    rate = now.high if now.low > usual.high else usual.high
    return add_block_against_rate(alarm, requests=canary.requests, errors=canary.errors, rate=rate, largest_factor=largest_factor)


def _compare(
    process: ErrorEvidence, canary: Counts, stable: Counts, share: float, *, joins_bursts: bool = False
) -> ErrorEvidence:
    return add_block(
        process,
        canary_requests=canary.requests,
        canary_errors=canary.errors,
        stable_requests=stable.requests,
        stable_errors=stable.errors,
        share=share,
        joins_bursts=joins_bursts,
    )


def _bound_by_shadow(evidence: Evidence, settings: RolloutTable) -> float | None:
    """Return the upper 95 % bound of the canary's excess error rate from the shadow, at the one look that rests on it.

    Both releases got the same requests there, and stable answered all of them, so the canary's error rate exceeds stable's by at
    most the share that the canary failed. The bound of this share is exact (Clopper-Pearson). The look comes when enough users'
    requests have confirmed it: at the first step, once, and only if the canary's errors among them stay within the margin.
    """
    shadow, canary, stable = evidence.shadow, evidence.step_canary, evidence.step_stable
    first = evidence.state_name == FIRST_STEP.name and evidence.looked == 0 and evidence.retrial is None
    if not first or shadow.requests < settings.first_look or canary.requests < settings.first_look * LIVE_PART:
        return None
    if (canary.rate or 0.0) - (stable.rate or 0.0) > settings.margin:
        return None
    return clopper_pearson_interval(shadow.failed, shadow.requests, level=2 * LEVEL - 1).high


def _fade(recent: Counts, settings: RolloutTable) -> Counts:
    """Halve the counts until they hold fewer requests than two first looks, so that old requests lose their weight."""
    while recent.requests >= 2 * settings.first_look:
        recent = Counts(recent.requests // 2, recent.errors // 2, recent.timed // 2, recent.slow // 2)
    return recent


def _look(evidence: Evidence, reference: Counts, settings: RolloutTable) -> Evidence:
    """Take the interim look that is due, if one is."""
    requests = evidence.step_canary.requests
    if (bound := _bound_by_shadow(evidence, settings)) is not None:
        return dataclasses.replace(evidence, looked=requests, upper_bound=bound, passed=bound <= settings.margin)
    if requests < next_look(evidence.looked, settings.first_look, settings.look_growth):
        return evidence
    record = find_record(evidence, settings) or NO_COUNTS
    bound, record_bound = (
        upper_bound_difference(evidence.step_canary.errors, requests, stable.errors, stable.requests, level=LEVEL)
        for stable in (reference, record)
    )
    passed = bound <= settings.margin
    return dataclasses.replace(evidence, looked=requests, upper_bound=bound, record_bound=record_bound, passed=passed)
