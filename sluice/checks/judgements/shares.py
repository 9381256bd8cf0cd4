"""Shares of rows: how many behave as expected, and how many have a prediction at all."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING

import numpy as np

from sluice.checks.announcements import announced
from sluice.checks.judgements.readings import LEAST_ROWS, read_count, read_level, read_limit, read_predictions
from sluice.checks.verdict_text import join_parts
from sluice.errors import DataError
from sluice.statistics.proportions import clopper_pearson_interval, wilson_interval
from sluice.statistics.required_rows import rows_for_share
from sluice.verdicts import Outcome, Verdict, judge_at_least

if TYPE_CHECKING:
    import numpy.typing as npt


@announced
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
        threshold: The share must be greater than this. In [0, 1).
        ties: Number of rows, among those that are not hits, in which nothing changed. The detail reports them separately: a model
            that ignores a column causes ties, and a model that uses it in the opposite direction causes other misses.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive and says how many are needed.
        detail: Further information for people.

    Raises:
        DataError: A count is not a whole number or is negative, there are more hits and ties than trials, or the threshold is not
            in [0, 1).
    """
    threshold, level = read_limit(check, threshold), read_level(check, level)
    if threshold == 1:
        raise DataError(
            f"{check}: a share cannot be greater than 1, so no model passes", hint="Choose a smaller threshold, for example 0.99."
        )
    hits, trials, ties = (read_count(check, value, what) for value, what in ((hits, "hits"), (trials, "trials"), (ties, "ties")))
    if hits + ties > trials:
        raise DataError(
            f"{check}: {hits:,} hits and {ties:,} ties do not fit into {trials:,} trials", hint="Count the ties among the misses."
        )
    least = max(read_count(check, least_rows, "least_rows"), 1)
    found = join_parts(detail, f"{ties:,} ties" if ties else "")
    if trials < least:
        enough = max(least, rows_for_share(hits / trials, threshold, level=level) or 0) if trials else least
        why = join_parts(found, f"{trials:,} rows; about {enough:,} are needed")
        observed = hits / trials if trials else None
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            observed=observed,
            threshold=threshold,
            comparison=">",
            rows=trials,
            detail=why,
        )
    interval = wilson_interval(hits, trials, level=level)
    return judge_at_least(check, hits / trials, interval, threshold=threshold, rows=trials, strict=True, detail=found)


@announced
def judge_coverage(check: str, scores: npt.ArrayLike, rows: int | Sized) -> Verdict:
    """Check that every row has a prediction, and that every prediction is a finite probability.

    All rows must have one. The interval is that of Clopper and Pearson. It says what these rows tell about others, and does not
    decide.

    Args:
        check: Name of the verdict.
        scores: The predictions, shape (rows,).
        rows: The number of rows that were sent to the model, or the rows.

    Raises:
        DataError: The predictions are not one list of numbers, or `rows` is neither a count nor a collection of rows.
    """
    text = isinstance(rows, str | bytes)
    expected = len(rows) if isinstance(rows, Sized) and not text else read_count(check, rows, "rows")
    given = read_predictions(check, scores)
    usable = int(((given >= 0) & (given <= 1)).sum())  # NaN and infinities are in no range.
    faults = {
        "not finite": len(given) - int(np.isfinite(given).sum()),
        "out of [0, 1]": int((np.isfinite(given) & ((given < 0) | (given > 1))).sum()),
        "rows without a prediction": max(expected - len(given), 0),
        "predictions too many": max(len(given) - expected, 0),
    }
    found = ", ".join(f"{count:,} {fault}" for fault, count in faults.items() if count)
    if expected == 0 and not found:
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, rows=0, detail="there are no rows to predict")
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if found else Outcome.PASS,
        observed=min(usable / expected, 1.0) if expected else 0.0,
        interval=clopper_pearson_interval(min(usable, expected), expected),
        threshold=1.0,
        comparison=">=",
        rows=expected,
        detail=found or "every row has a finite probability",
    )
