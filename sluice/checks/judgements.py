"""Functions that turn a model's predictions into verdicts. The tests of the model layer call them.

Every observed quantity has an interval. If there are too few rows for a reliable answer, the verdict is inconclusive: with fewer
than 30 rows, or fewer than 10 of either class, the interval of an AUC does not reach its stated coverage.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.checks.verdict_text import join_parts
from sluice.errors import DataError
from sluice.statistics.auc import estimate_auc
from sluice.statistics.proportions import wilson_interval
from sluice.verdicts import Outcome, Verdict, judge_at_least

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

LEAST_ROWS = 30
LEAST_PER_CLASS = 10


def predict_probability(model: Any, features: pd.DataFrame) -> npt.NDArray[np.float64]:  # noqa: ANN401 - scikit-learn is untyped
    """Return the probability of label 1, as the server will return it.

    It is not clipped, so that a value out of range can be seen.

    Args:
        model: A fitted classifier with ``predict_proba``.
        features: One row per prediction.

    Returns:
        Shape (rows,).

    Raises:
        DataError: The model does not return a probability of label 1 for every row.
    """
    answers = np.asarray(model.predict_proba(features), dtype=np.float64)
    classes = [int(label) for label in getattr(model, "classes_", (0, 1))]
    if 1 not in classes or answers.shape != (len(features), len(classes)):
        raise DataError(
            f"the model returns probabilities of shape {answers.shape} for classes {classes} and {len(features):,} rows",
            hint="Fit a classifier on labels 0 and 1. Its predict_proba must return one column for each of the two labels.",
        )
    return np.asarray(answers[:, classes.index(1)])


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

    Args:
        check: Name of the verdict.
        labels: 0 or 1, shape (rows,).
        scores: Scores that rise with the probability of label 1, shape (rows,).
        threshold: The smallest AUC that passes.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive.
        least_per_class: With fewer rows of either label, the verdict is inconclusive too.
        detail: Further information for people.

    Raises:
        ValueError: The lengths differ, or there are labels other than 0 and 1.
    """
    truth, given = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    rows, positives = len(truth), int(np.count_nonzero(truth))
    if rows < least_rows or min(positives, rows - positives) < least_per_class:
        found = f"{rows:,} rows with {positives:,} positive"
        needed = f"an AUC needs {least_rows} rows and {least_per_class} of either label"
        why = join_parts(detail, f"{found}; {needed}")
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, threshold=threshold, comparison=">=", rows=rows, detail=why)
    not_finite = rows - int(np.isfinite(given).sum()) if len(given) == rows else 0
    if not_finite:
        why = join_parts(detail, f"{not_finite:,} scores are not finite")
        return Verdict(check=check, outcome=Outcome.FAIL, threshold=threshold, comparison=">=", rows=rows, detail=why)
    estimate = estimate_auc(truth, given, level=level)
    return judge_at_least(check, estimate.auc, estimate.interval, threshold=threshold, rows=rows, detail=detail)


def judge_share(
    check: str,
    hits: int,
    trials: int,
    *,
    threshold: float,
    ties: int = 0,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
    detail: str = "",
) -> Verdict:
    """Compare a share of rows, with its Wilson interval, with a threshold that it must exceed.

    Args:
        check: Name of the verdict.
        hits: Number of rows that behave as expected.
        trials: Number of all rows.
        threshold: The share must be greater than this.
        ties: Number of rows, among those that are not hits, in which nothing changed. The detail reports them separately: a model
            that ignores a column causes ties, and a model that uses it in the opposite direction causes other misses.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive.
        detail: Further information for people.

    Raises:
        ValueError: There are more hits and ties than trials, or a count is negative.
    """
    hits, trials, ties = int(hits), int(trials), int(ties)
    if min(hits, ties) < 0 or hits + ties > trials:
        raise ValueError(f"{hits} hits and {ties} ties do not fit into {trials} trials")
    found = join_parts(detail, f"{ties:,} ties" if ties else "")
    if trials < max(least_rows, 1):
        why = join_parts(found, f"{trials:,} rows; {max(least_rows, 1)} are needed")
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, threshold=threshold, comparison=">", rows=trials, detail=why)
    interval = wilson_interval(hits, trials, level=level)
    return judge_at_least(check, hits / trials, interval, threshold=threshold, rows=trials, strict=True, detail=found)


def judge_coverage(check: str, scores: npt.ArrayLike, rows: int | Sized) -> Verdict:
    """Check that every row has a prediction, and that every prediction is a finite probability.

    Args:
        check: Name of the verdict.
        scores: The predictions, shape (rows,).
        rows: The number of rows that were sent to the model, or the rows.
    """
    expected = len(rows) if isinstance(rows, Sized) else int(rows)
    given = np.asarray(scores, dtype=np.float64).ravel()
    usable = int(((given >= 0) & (given <= 1)).sum())  # NaN and infinities are in no range.
    faults = {
        "not finite": len(given) - int(np.isfinite(given).sum()),
        "out of [0, 1]": int((np.isfinite(given) & ((given < 0) | (given > 1))).sum()),
        "rows without a prediction": max(expected - len(given), 0),
        "predictions too many": max(len(given) - expected, 0),
    }
    found = ", ".join(f"{count:,} {fault}" for fault, count in faults.items() if count)
    if expected == 0:
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, rows=0, detail="there are no rows to predict")
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if found else Outcome.PASS,
        observed=min(usable / expected, 1.0),
        threshold=1.0,
        comparison=">=",
        rows=expected,
        detail=found or "every row has a finite probability",
    )
