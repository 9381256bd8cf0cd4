"""What a shadow says: the same requests asked of stable and of the canary, whose answers nobody else sees. Pure.

The difference of one request is the mean absolute difference of its rows' probabilities, in [0, 1]; a request that stable
answered and the canary did not differs by 1. The canary goes on once the 95 % upper bound of the mean difference is within
``rollout.shadow_difference``, and is refused once the lower bound is above it; looked at after ``rollout.shadow_requests``
requests, and then each time they have grown by ``rollout.look_growth``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.looks import LEVEL, Judgement, next_look
from sluice.statistics.proportions import bounded_mean_interval

if TYPE_CHECKING:
    from sluice.project import RolloutTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Requests that both were asked.

    Attributes:
        requests: So many.
        failed: Those that stable answered and the canary did not.
        difference: Sum of the requests' differences, in [0, requests].
        looked: Requests at the last look; 0 before the first.
        low: Lower bound of the mean difference at the last look.
        high: Upper bound of it.
        impossible: Why there can be no shadow; empty where there can.
    """

    requests: int = 0
    failed: int = 0
    difference: float = 0.0
    looked: int = 0
    low: float = 0.0
    high: float = 1.0
    impossible: str = ""

    def __add__(self, other: Comparison) -> Comparison:
        """Both, with the look of the first: no look is due by adding alone."""
        return dataclasses.replace(
            self,
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            difference=self.difference + other.difference,
            impossible=other.impossible,
        )

    @property
    def mean(self) -> float | None:
        """Of the differences; None before the first request."""
        return self.difference / self.requests if self.requests else None


NO_COMPARISON = Comparison()


def add_comparison(before: Comparison, found: Comparison, settings: RolloutTable) -> Comparison:
    """Both together, and the look that is due, if one is."""
    after = before + found
    if not settings.shadow_requests or after.requests < next_look(before.looked, settings.shadow_requests, settings.look_growth):
        return after
    interval = bounded_mean_interval(after.difference, after.requests, level=2 * LEVEL - 1)
    return dataclasses.replace(after, looked=after.requests, low=interval.low, high=interval.high)


def judge_comparison(comparison: Comparison, settings: RolloutTable) -> Judgement:
    """What the plan needs to know of it; a shadow that was switched off meanwhile keeps nobody."""
    if not settings.shadow_requests:
        return Judgement(passed=True, reason="no shadow: it was switched off")
    if comparison.impossible:
        return Judgement(passed=True, reason=f"no shadow: {comparison.impossible}")
    if not comparison.looked:
        asked = f"{comparison.requests} of {settings.shadow_requests} requests were asked of both"
        return Judgement(reason=f"inconclusive: {asked}")
    counted = f"{comparison.failed} failed of {comparison.requests} requests that were asked of both"
    limit = f"limit {settings.shadow_difference:g}"
    if comparison.low > settings.shadow_difference:
        differs = f"its answers differ from stable's by {comparison.low:.3f} or more"
        return Judgement(condemned=True, reason=f"shadow: {differs}, {limit}; {counted}")
    differs = f"its answers differ from stable's by at most {comparison.high:.3f}"
    if comparison.high <= settings.shadow_difference:
        return Judgement(passed=True, reason=f"shadow: {differs}, {limit}; {counted}")
    due = next_look(comparison.looked, settings.shadow_requests, settings.look_growth)
    return Judgement(reason=f"inconclusive: {differs}, {limit}; next look at {due} requests; {counted}")
