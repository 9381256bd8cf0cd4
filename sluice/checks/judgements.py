"""From a model's answers to verdicts: what the model layer's tests call.

Every quantity comes with its interval, and every check says "inconclusive" where its rows cannot carry an answer: fewer
than 30 rows, or fewer than 10 of either class, leave an AUC's interval without its promised coverage.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """Probability of label 1, as the service will answer it: unclipped, so that a value out of range is seen.

    Args:
        model: A fitted classifier with ``predict_proba``.
        features: One row per prediction.

    Returns:
        Shape (rows,).

    Raises:
        DataError: The model gives no probability of label 1 for every row.
    """
    answers = np.asarray(model.predict_proba(features), dtype=np.float64)
    classes = [int(label) for label in getattr(model, "classes_", (0, 1))]
    if 1 not in classes or answers.shape != (len(features), len(classes)):
        raise DataError(
            f"the model gives probabilities of shape {answers.shape} for classes {classes} and {len(features):,} rows",
            hint="Fit a classifier on labels 0 and 1; predict_proba must give one column for each of the two.",
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
    """Hold the AUC against a lower threshold, with its logit-DeLong interval.

    Args:
        check: Name of the verdict.
        labels: 0 or 1, shape (rows,).
        scores: Any scores that rise with the probability of label 1, shape (rows,).
        threshold: Least AUC that passes.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows the verdict is inconclusive.
        least_per_class: With fewer of either label it is so too.
        detail: What else a person should know.

    Raises:
        ValueError: Unequal lengths, or labels other than 0 and 1.
    """
    truth, given = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    rows, positives = len(truth), int(np.count_nonzero(truth))
    if rows < least_rows or min(positives, rows - positives) < least_per_class:
        found = f"{rows:,} rows with {positives:,} positive"
        needed = f"an AUC needs {least_rows} rows and {least_per_class} of either label"
        why = _joined(detail, f"{found}; {needed}")
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, threshold=threshold, comparison=">=", rows=rows, detail=why)
    unusable = rows - int(np.isfinite(given).sum()) if len(given) == rows else 0
    if unusable:
        why = _joined(detail, f"{unusable:,} scores are not finite")
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
    """Hold a share of rows against a threshold that it must exceed, with its Wilson interval.

    Args:
        check: Name of the verdict.
        hits: Rows that did what was asked of them.
        trials: All rows.
        threshold: Share that must be exceeded.
        ties: Rows among the misses that did neither, counted apart in the detail: a model that ignores a column shows
            here as ties, one that takes it the wrong way round as plain misses.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows the verdict is inconclusive.
        detail: What else a person should know.

    Raises:
        ValueError: hits and ties do not fit into trials.
    """
    hits, trials, ties = int(hits), int(trials), int(ties)
    if min(hits, ties) < 0 or hits + ties > trials:
        raise ValueError(f"{hits} hits and {ties} ties do not fit into {trials} trials")
    found = _joined(detail, f"{ties:,} ties" if ties else "")
    if trials < max(least_rows, 1):
        why = _joined(found, f"{trials:,} rows; {max(least_rows, 1)} are needed")
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, threshold=threshold, comparison=">", rows=trials, detail=why)
    interval = wilson_interval(hits, trials, level=level)
    return judge_at_least(check, hits / trials, interval, threshold=threshold, rows=trials, strict=True, detail=found)


def judge_coverage(check: str, scores: npt.ArrayLike, rows: int | Sized) -> Verdict:
    """Every row has an answer, and every answer is a finite probability.

    Args:
        check: Name of the verdict.
        scores: The answers, shape (rows,).
        rows: How many were asked for, or the rows themselves.
    """
    expected = len(rows) if isinstance(rows, Sized) else int(rows)
    given = np.asarray(scores, dtype=np.float64).ravel()
    usable = int(((given >= 0) & (given <= 1)).sum())  # NaN and infinities are in no range
    faults = {
        "not finite": len(given) - int(np.isfinite(given).sum()),
        "out of [0, 1]": int((np.isfinite(given) & ((given < 0) | (given > 1))).sum()),
        "rows without an answer": max(expected - len(given), 0),
        "answers too many": max(len(given) - expected, 0),
    }
    said = ", ".join(f"{count:,} {what}" for what, count in faults.items() if count)
    if expected == 0:
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, rows=0, detail="there are no rows to answer")
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if said else Outcome.PASS,
        observed=min(usable / expected, 1.0),
        threshold=1.0,
        comparison=">=",
        rows=expected,
        detail=said or "a finite probability for every row",
    )


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
