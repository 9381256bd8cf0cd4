"""The comparison in the shadow: the canary answers copies of requests that stable answered, and no client sees its answers. Pure.

The difference of one request is the mean absolute difference of its rows' probabilities, in [0, 1]. A request that stable
answered and the canary did not counts as 1. The canary advances when the 95 % upper bound of the mean difference is within
``rollout.shadow_difference``, and it is refused when the lower bound is above that. The comparison is made after
``rollout.shadow_requests`` requests, and again each time their number has grown by the factor ``rollout.look_growth``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.decisions.interim_looks import LEVEL, Judgement, next_look

if TYPE_CHECKING:
    from sluice.project.tables.rollout import RolloutTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Requests that both releases answered.

    Attributes:
        requests: The number of requests.
        failed: Requests that stable answered and the canary did not.
        difference: Sum of the requests' differences, in [0, requests].
        looked: The number of requests at the last interim look; 0 before the first.
        low: Lower bound of the mean difference at the last interim look.
        high: Upper bound of the mean difference at the last interim look.
        impossible: Why there can be no shadow; empty if there can be one.
    """

    requests: int = 0
    failed: int = 0
    difference: float = 0.0
    looked: int = 0
    low: float = 0.0
    high: float = 1.0
    impossible: str = ""

    def __add__(self, other: Comparison) -> Comparison:
        """Return the sum, with the interim look of the first: adding alone takes no look."""
        return dataclasses.replace(
            self,
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            difference=self.difference + other.difference,
            impossible=other.impossible,
        )

    @property
    def mean(self) -> float | None:
        """The mean difference; None before the first request."""
        return self.difference / self.requests if self.requests else None


NO_COMPARISON = Comparison()


def add_comparison(before: Comparison, found: Comparison, settings: RolloutTable) -> Comparison:
    """Return the sum of two comparisons, and take the interim look that is due, if one is."""
    after = before + found
    if not settings.shadow_requests or after.requests < next_look(before.looked, settings.shadow_requests, settings.look_growth):
        return after
    from sluice.statistics.proportions import bounded_mean_interval  # noqa: PLC0415 - scipy would delay every rollback command

    interval = bounded_mean_interval(after.difference, after.requests, level=2 * LEVEL - 1)
    return dataclasses.replace(after, looked=after.requests, low=interval.low, high=interval.high)


def judge_comparison(comparison: Comparison, settings: RolloutTable) -> Judgement:
    """Judge the canary by the comparison. If the shadow is off by now, or impossible, the canary passes."""
    if not settings.shadow_requests:
        return Judgement(passed=True, reason="no shadow: it was switched off")
    if comparison.impossible:
        return Judgement(passed=True, reason=f"no shadow: {comparison.impossible}")
    if not comparison.looked:
        asked = f"both releases answered {comparison.requests} of {settings.shadow_requests} requests"
        return Judgement(reason=f"inconclusive: {asked}")
    counted = f"the canary failed {comparison.failed} of {comparison.requests} requests that stable answered"
    limit = f"limit {settings.shadow_difference:g}"
    if comparison.low > settings.shadow_difference:
        differs = f"the canary's answers differ from stable's by {comparison.low:.3f} or more"
        return Judgement(failed=True, reason=f"shadow: {differs}, {limit}; {counted}")
    differs = f"the canary's answers differ from stable's by at most {comparison.high:.3f}"
    if comparison.high <= settings.shadow_difference:
        return Judgement(passed=True, reason=f"shadow: {differs}, {limit}; {counted}")
    due = next_look(comparison.looked, settings.shadow_requests, settings.look_growth)
    return Judgement(reason=f"inconclusive: {differs}, {limit}; next look at {due} requests; {counted}")
