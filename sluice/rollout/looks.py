"""What every judgement has in common: its form, its level, and when one looks. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

LEVEL = 0.95
"""Of the one-sided bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the plan needs to know of the evidence.

    Attributes:
        condemned: The canary is to go.
        passed: The last look lets the canary go up.
        reason: One clause for a person, with the numbers.
    """

    condemned: bool = False
    passed: bool = False
    reason: str = "no evidence yet"

    def beside(self, trouble: str) -> Judgement:
        """The same where something keeps the evidence from being gathered: what was seen before lets nobody up now."""
        if not trouble or self.condemned:
            return self
        return dataclasses.replace(self, passed=False, reason=trouble)


def next_look(looked: int, first: int, growth: float) -> int:
    """Requests at which the next look is due: first times growth^k, the first above `looked`.

    Raises:
        ValueError: `first` is below 1, or `growth` not above 1: no look would ever be due.
    """
    if first < 1 or growth <= 1:
        raise ValueError(f"looks must begin at 1 or later and grow, not at {first} times {growth}")
    due = float(first)
    while math.ceil(due) <= looked:
        due *= growth
    return math.ceil(due)
