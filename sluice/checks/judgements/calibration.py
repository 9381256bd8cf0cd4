"""Whether the probabilities mean what they say: of the rows with probability 0.3, three in ten should be positive."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from sluice.checks.announcements import announced
from sluice.checks.judgements.readings import read_count, read_level, read_limit, read_predictions, read_truths
from sluice.errors import DataError
from sluice.statistics.calibration import estimate_calibration_mean, estimate_calibration_slope
from sluice.statistics.required_rows import rows_for_classes
from sluice.verdicts import Outcome, Verdict, judge_between

if TYPE_CHECKING:
    import numpy.typing as npt

LEAST_ROWS, LEAST_PER_CLASS = 100, 20
"""With fewer rows, the interval of the slope does not reach its stated coverage."""


@announced
def judge_calibration(
    check: str,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    most: float = 0.05,
    slope: tuple[float, float] = (0.8, 1.25),
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
    least_per_class: int = LEAST_PER_CLASS,
) -> list[Verdict]:
    """Check the probabilities: their mean, and how far they are spread.

    ``<check>_mean`` is the mean probability minus the share of positives. ``<check>_slope`` is the factor by which the log odds
    should be stretched: below 1 the probabilities are too extreme, above 1 too timid. Each fails if its whole interval lies
    outside of its bounds. If only the observed value does, it is inconclusive, because the rows are too few to tell.

    Args:
        check: Beginning of the names of the verdicts.
        labels: 0 or 1, shape (rows,).
        scores: Probabilities of label 1, shape (rows,).
        most: How much the mean probability may differ from the share of positives, in either direction.
        slope: The smallest and the largest slope that pass.
        level: Coverage of the two-sided intervals.
        least_rows: With fewer rows, the verdicts are inconclusive and say how many are needed.
        least_per_class: With fewer rows of either label, the verdicts are inconclusive too.

    Returns:
        Two verdicts. A single one, failed, if a score is not a probability.

    Raises:
        DataError: The labels are not 0 and 1, the scores are not one number per label, or a bound is out of its range.
    """
    most, level = read_limit(check, most, "most"), read_level(check, level)
    bounds = [read_limit(check, bound, "slope", high=np.inf) for bound in slope]
    if len(bounds) != 2 or bounds[0] >= bounds[1]:  # noqa: PLR2004 - a lower and an upper bound
        raise DataError(f"{check}: slope must be two rising numbers, not {slope!r}", hint="Pass for example (0.8, 1.25).")
    truth = read_truths(check, labels)
    given = read_predictions(check, scores, truth.size)
    wrong = truth.size - int(((given >= 0) & (given <= 1)).sum())
    if wrong:
        return [Verdict(check=check, outcome=Outcome.FAIL, rows=truth.size, detail=f"{wrong:,} scores are not probabilities")]
    least = (read_count(check, least_rows, "least_rows"), read_count(check, least_per_class, "least_per_class"))
    mean = Verdict(
        check=f"{check}_mean", outcome=Outcome.INCONCLUSIVE, threshold=-most, upper=most, comparison=">=", rows=truth.size
    )
    spread = dataclasses.replace(mean, check=f"{check}_slope", threshold=bounds[0], upper=bounds[1])
    positives = int(np.count_nonzero(truth))
    if truth.size < least[0] or min(positives, truth.size - positives) < max(least[1], 1):
        why = _describe_few(truth.size, positives, least)
        return [dataclasses.replace(verdict, detail=why) for verdict in (mean, spread)]
    found = estimate_calibration_mean(truth, given, level=level)
    mean = judge_between(mean.check, found.difference, found.interval, low=-most, high=most, rows=truth.size)
    mean = _explain(mean, f"on average, the probabilities are too {'high' if found.difference > 0 else 'low'}")
    if np.ptp(given) == 0:
        return [mean, dataclasses.replace(spread, detail="all probabilities are equal, so they have no slope")]
    steep = estimate_calibration_slope(truth, given, level=level)
    spread = judge_between(spread.check, steep.slope, steep.interval, low=bounds[0], high=bounds[1], rows=truth.size)
    return [mean, _explain(spread, f"the probabilities are too {'extreme' if steep.slope < 1 else 'timid'}")]


def _explain(verdict: Verdict, fault: str) -> Verdict:
    """Return a verdict that does not pass with what is wrong. If it is inconclusive, say about how many rows would show it."""
    if verdict.outcome is Outcome.PASS:
        return verdict
    if verdict.failed or verdict.interval is None or verdict.observed is None:
        return dataclasses.replace(verdict, detail=fault)
    low, high = verdict.threshold or 0.0, verdict.upper or 0.0
    beyond = low - verdict.observed if verdict.observed < low else verdict.observed - high
    half_width = (verdict.interval.high - verdict.interval.low) / 2
    enough = math.ceil((verdict.rows or 0) * (half_width / beyond) ** 2) if math.isfinite(half_width) else 0
    advice = f"; if the value stays, about {enough:,} rows show it" if enough else ""
    return dataclasses.replace(verdict, detail=f"perhaps {fault}, but with so few rows this may be chance{advice}")


def _describe_few(rows: int, positives: int, least: tuple[int, int]) -> str:
    enough = rows_for_classes(rows, positives, least_rows=least[0], least_per_class=least[1])
    advice = f"; about {enough:,} rows are needed" if enough else ""
    return f"{rows:,} rows with {positives:,} positive; calibration needs {least[0]} rows and {least[1]} of either label{advice}"
