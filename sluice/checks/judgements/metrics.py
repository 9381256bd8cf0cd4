"""How well the scores separate the labels, over all rows and in slices."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from sluice.checks.announcements import announced
from sluice.checks.judgements.readings import (
    LEAST_PER_CLASS,
    LEAST_ROWS,
    read_count,
    read_level,
    read_limit,
    read_predictions,
    read_truths,
)
from sluice.checks.verdict_text import format_number, join_parts
from sluice.statistics.auc import estimate_auc
from sluice.statistics.required_rows import rows_for_auc, rows_for_classes
from sluice.verdicts import Outcome, Verdict, judge_at_least

if TYPE_CHECKING:
    import numpy.typing as npt

    from sluice.statistics.samples import Booleans, Floats


@announced
def judge_auc(
    check: str,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    threshold: float,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
    least_per_class: int = LEAST_PER_CLASS,
    detail: str = "",
) -> Verdict:
    """Compare the AUC, with its logit-DeLong interval, with a lower threshold.

    Scores that are NaN or infinite fail the check, however few rows there are.

    Args:
        check: Name of the verdict.
        labels: 0 or 1, shape (rows,).
        scores: Scores that rise with the probability of label 1, shape (rows,).
        threshold: The smallest AUC that passes, in [0, 1].
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive and says how many are needed.
        least_per_class: With fewer rows of either label, the verdict is inconclusive too.
        detail: Further information for people.

    Raises:
        DataError: The labels are not 0 and 1, the scores are not one number per label, or the threshold is not in [0, 1].
    """
    threshold, level = read_limit(check, threshold), read_level(check, level)
    truth = read_truths(check, labels)
    given = read_predictions(check, scores, truth.size)
    least = (read_count(check, least_rows, "least_rows"), read_count(check, least_per_class, "least_per_class"))
    if fault := describe_not_finite(given):
        why = join_parts(detail, fault)
        return Verdict(check=check, outcome=Outcome.FAIL, threshold=threshold, comparison=">=", rows=truth.size, detail=why)
    rows, positives = truth.size, int(np.count_nonzero(truth))
    if rows < least[0] or min(positives, rows - positives) < max(least[1], 1):
        return _leave_open(check, truth, given, threshold=threshold, level=level, least=least, detail=detail)
    estimate = estimate_auc(truth, given, level=level)
    return judge_at_least(check, estimate.auc, estimate.interval, threshold=threshold, rows=rows, detail=detail)


def describe_not_finite(scores: Floats) -> str:
    """Return how many scores are NaN or infinite; empty if none is."""
    count = scores.size - int(np.isfinite(scores).sum())
    return f"{count:,} scores are not finite" if count else ""


def _leave_open(
    check: str, truth: Booleans, scores: Floats, *, threshold: float, level: float, least: tuple[int, int], detail: str
) -> Verdict:
    """Return the inconclusive verdict for too few rows. It says how many are needed."""
    rows, positives = truth.size, int(np.count_nonzero(truth))
    found = f"{rows:,} rows with {positives:,} positive"
    needed = f"an AUC needs {least[0]} rows and {least[1]} of either label"
    verdict = Verdict(
        check=check,
        outcome=Outcome.INCONCLUSIVE,
        threshold=threshold,
        comparison=">=",
        rows=rows,
        detail=join_parts(detail, f"{found}; {needed}"),
    )
    if positives in {0, rows}:
        return verdict
    estimate = estimate_auc(truth, scores, level=level)
    enough = rows_for_classes(rows, positives, least_rows=least[0], least_per_class=least[1]) or 0
    so_far = format_number(estimate.auc)
    if estimate.auc > threshold:
        enough = max(enough, rows_for_auc(estimate, threshold, level=level) or 0)
        advice = f"if the AUC stays at {so_far}, about {enough:,} rows are needed to show that it is above the threshold"
    else:
        advice = f"about {enough:,} rows are needed to judge it, and the AUC so far is {so_far}, not above the threshold"
    return dataclasses.replace(verdict, observed=estimate.auc, detail=join_parts(verdict.detail, advice))
