"""What all judgements share: their form, their confidence level, and the schedule of interim looks. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

LEVEL = 0.95
"""Confidence level of the one-sided bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the evidence says about the canary.

    Attributes:
        failed: The canary must be rolled back.
        passed: The last interim look lets the canary advance.
        alarm: Why the canary must take less traffic until it is clear whether it fails, in one clause; empty if it need not.
        reason: Why, in one clause for a person, with the numbers.
    """

    failed: bool = False
    passed: bool = False
    alarm: str = ""
    reason: str = "no evidence yet"

    def blocked_by(self, problem: str) -> Judgement:
        """Return the judgement while a problem keeps evidence from being collected: no canary advances then."""
        if not problem or self.failed:
            return self
        return dataclasses.replace(self, passed=False, reason=problem)


def next_look(looked: int, first: int, growth: float) -> int:
    """Return the number of requests at which the next interim look is due: the first of ``first * growth**k`` above `looked`.

    Raises:
        ValueError: `first` is below 1, or `growth` is not above 1, so that no look would ever be due.
    """
    if first < 1 or growth <= 1:
        raise ValueError(f"interim looks must begin at 1 or later and grow, but they begin at {first} and grow by {growth}")
    due = float(first)
    while math.ceil(due) <= looked:
        due *= growth
    return math.ceil(due)
