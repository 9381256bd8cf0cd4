"""The evidence about a canary: what is counted and kept. Pure. `evidence_updates.py` adds to it, and `judgements.py` judges it.

An error is a 5xx or a time-out: the model server turns invalid outputs into 500s. A 4xx is the client's fault unless stable
accepts the same request (``sluice.rollout.decisions.blame``).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from sluice.rollout.decisions.expected_times import NO_TRAFFIC, Traffic
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison
from sluice.statistics.sequential import ErrorEvidence  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from sluice.project.tables.rollout import RolloutTable

LATENCY_WEIGHT = 0.05
"""Share of the slow answers in the evidence: a second guard, which costs the evidence of errors almost nothing."""

RETRIAL_WEIGHT = 0.05
"""Share of the evidence that starts anew when an alarm moves the canary back. What was counted before the fault would hide it."""

BLOCK_TOLERANCE = 0.9
"""A block ends after this part of its time, because control rounds do not come exactly once a second."""


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
        retrial: Like `process`, since an alarm moved the canary back; None before.
        latency_retrial: Like `latency`, since then.
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
    retrial: ErrorEvidence | None = None
    latency_retrial: ErrorEvidence | None = None
    record_bound: float | None = None

    @property
    def e_value(self) -> float:
        """The combined evidence. A weighted mean of e-processes is an e-process, and one that has not started is 1."""
        retrials = [process.e_value if process else 1.0 for process in (self.retrial, self.latency_retrial)]
        return (
            (1 - LATENCY_WEIGHT - RETRIAL_WEIGHT) * self.process.e_value
            + LATENCY_WEIGHT * self.latency.e_value
            + RETRIAL_WEIGHT * sum(retrials) / 2
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The evidence with which a restarted supervisor or controller continues.

    Attributes:
        evidence: The evidence of the running rollout; None if none is running.
        recorded: Counts of each champion during its term. The bake compares a canary with this record.
        traffic: The measured traffic.
    """

    evidence: Evidence | None = None
    recorded: Mapping[str, Counts] = field(default_factory=dict)
    traffic: Traffic = NO_TRAFFIC


def count_since(before: Counts | None, now: Counts) -> Counts:
    """Return the growth of cumulative counters. Counters that fell were reset, so they count from zero."""
    grown = now if before is None else now - before
    if min(grown.requests, grown.errors, grown.timed, grown.slow) < 0:
        grown = now
    # The proxy does not read its counters at one instant, so an error may be visible before its request is.
    errors, slow = min(grown.errors, grown.requests), min(grown.slow, grown.timed)
    return Counts(grown.requests, errors, grown.timed, slow, grown.rejected)


def slow(counts: Counts) -> Counts:
    """Return counts in which the slow answers are the errors."""
    return Counts(counts.timed, counts.slow)


def find_record(evidence: Evidence, settings: RolloutTable) -> Counts | None:
    """Return stable's counts from before the rollout; None if they are too few to say what is usual."""
    record = evidence.champion_record
    return record if record.requests >= settings.first_look else None
