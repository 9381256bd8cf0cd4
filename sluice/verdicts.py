"""The verdict: the result of a check, with the numbers that it is based on.

There is one type for all verdicts, so that the terminal, HTML, JUnit, KFP metrics and the release's manifest show the same
result.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Outcome(StrEnum):
    """The three outcomes of a verdict."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Lower end, in the unit of the quantity.
        high: Upper end.
        level: Two-sided coverage, in (0, 1), for example 0.95.
        method: How the interval was computed, for example ``"logit-DeLong"``.
    """

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of one check.

    Attributes:
        check: A name that stays the same from run to run, for example ``"auc_overall"``.
        outcome: pass, fail or inconclusive.
        observed: The quantity that was judged; None if the check has no number.
        interval: Interval of `observed`; None if there is none.
        threshold: The value that `observed` was compared with, by `comparison`.
        upper: Upper bound, if `observed` must lie between two bounds. Then `threshold` is the lower bound.
        comparison: ``">="``, ``">"``, ``"<="``, ``"<"``, ``"=="`` or ``""``.
        rows: Number of rows that the check used.
        unproven: Whether the observed value meets the threshold, but the lower end of its interval does not.
        detail: One sentence for people.
        allowed: Why an inconclusive result does not block production; empty if it does.
    """

    check: str
    outcome: Outcome
    observed: float | None = None
    interval: Interval | None = None
    threshold: float | None = None
    upper: float | None = None
    comparison: str = ""
    rows: int | None = None
    unproven: bool = False
    detail: str = ""
    allowed: str = ""

    @property
    def failed(self) -> bool:
        """Whether the check failed."""
        return self.outcome is Outcome.FAIL

    @property
    def blocks(self) -> bool:
        """Whether the check keeps a release from production. What could not be decided does so, unless somebody allowed it."""
        return self.failed or (self.outcome is Outcome.INCONCLUSIVE and not self.allowed)

    @property
    def explanation(self) -> str:
        """The detail, and why an inconclusive result does not block production."""
        allowed = self.allowed if self.outcome is Outcome.INCONCLUSIVE else ""
        return "; ".join(part for part in (self.detail, f"allowed to be inconclusive: {allowed}" if allowed else "") if part)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types. `from_dict` reads them."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: A required field is missing.
            ValueError: The outcome is not one of pass, fail and inconclusive.
        """
        interval = values.get("interval")
        return cls(**{**values, "outcome": Outcome(values["outcome"]), "interval": Interval(**interval) if interval else None})


def judge_at_least(
    check: str,
    observed: float,
    interval: Interval,
    *,
    threshold: float,
    rows: int,
    strict: bool = False,
    detail: str = "",
) -> Verdict:
    """Compare a quantity with a lower threshold.

    If the observed value is below the threshold, the check fails. If the value meets the threshold and the lower end of the
    interval does not, the check passes and is marked as unproven. A quantity that is not finite fails.
    """
    reached = math.isfinite(observed) and (observed > threshold if strict else observed >= threshold)
    return Verdict(
        check=check,
        outcome=Outcome.PASS if reached else Outcome.FAIL,
        observed=observed if math.isfinite(observed) else None,
        interval=interval,
        threshold=threshold,
        comparison=">" if strict else ">=",
        rows=rows,
        unproven=reached and not interval.low >= threshold,  # an interval that is NaN proves nothing
        detail=detail,
    )


def judge_between(
    check: str, observed: float, interval: Interval, *, low: float, high: float, rows: int, detail: str = ""
) -> Verdict:
    """Compare a quantity with two bounds.

    If the value lies between the bounds, the check passes, and it is marked as unproven if its interval reaches across one of
    them. If the whole interval lies outside, the check fails. If only the value lies outside, it is inconclusive: the rows are
    too few to tell.
    """
    inside = low <= observed <= high
    apart = not math.isfinite(observed) or interval.high < low or interval.low > high
    return Verdict(
        check=check,
        outcome=Outcome.PASS if inside else Outcome.FAIL if apart else Outcome.INCONCLUSIVE,
        observed=observed if math.isfinite(observed) else None,
        interval=interval,
        threshold=low,
        upper=high,
        comparison=">=",
        rows=rows,
        unproven=inside and not (low <= interval.low and interval.high <= high),
        detail=detail,
    )


def worst_outcome(verdicts: list[Verdict]) -> Outcome:
    """Return the outcome of several checks together: fail if any failed, else inconclusive if any was inconclusive, else pass.

    An inconclusive verdict that is allowed counts as a pass. So the outcome says whether the checks block production.
    """
    outcomes = {verdict.outcome for verdict in verdicts if verdict.blocks}
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS
