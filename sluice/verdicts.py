"""The verdict: what a check, a layer's test or the gate says, with the evidence it rests on.

One type for all of them, so that every surface (terminal, HTML, JUnit, KFP metrics, the release's manifest) shows the same thing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Outcome(StrEnum):
    """What a verdict says."""

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
        method: How it was made, for example ``"logit-DeLong"``.
    """

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One check's answer.

    Attributes:
        check: Stable name, for example ``"auc_overall"``.
        outcome: pass, fail or inconclusive.
        observed: The quantity that was judged; None where the check has no number.
        interval: Interval of `observed`; None where it has none.
        threshold: What `observed` was held against, with `comparison`.
        upper: Upper bound of a check that wants `observed` between two; `threshold` is the lower one then.
        comparison: ``">="``, ``">"``, ``"<="``, ``"<"``, ``"=="`` or ``""``.
        rows: How many rows it rests on.
        unproven: The point estimate is on the right side, the interval's end is not.
        detail: One sentence for a person.
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

    @property
    def failed(self) -> bool:
        """Whether the check said no."""
        return self.outcome is Outcome.FAIL

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: A required field is missing.
            ValueError: The outcome is none of the three.
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
    """Hold a quantity against a lower threshold, by the rule of the design.

    Point estimate below the threshold: fail. Above, with the interval's lower end below: pass, marked unproven.
    A quantity that is not finite fails.
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
        unproven=reached and interval.low < threshold,
        detail=detail,
    )


def worst_outcome(verdicts: list[Verdict]) -> Outcome:
    """The outcome of several checks taken together: any fail fails, else any inconclusive is inconclusive, else pass."""
    outcomes = {verdict.outcome for verdict in verdicts}
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS
