"""About how many rows a check needs until its interval lies above a threshold, if the share or the AUC stays as it was observed.

These are rough numbers for a message. They assume that the standard error falls with the square root of the number of rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import logit, ndtri

from sluice.statistics.samples import check_level

if TYPE_CHECKING:
    from sluice.statistics.auc import AucEstimate


def rows_for_classes(rows: int, positives: int, *, least_rows: int, least_per_class: int) -> int | None:
    """Return how many rows are needed until both classes are large enough, at the present share of positives.

    Args:
        rows: Rows so far.
        positives: Rows with label 1 so far.
        least_rows: Smallest number of rows.
        least_per_class: Smallest number of rows of each class.

    Returns:
        None if a class does not occur, because then its share is unknown.
    """
    rarer = min(positives, rows - positives)
    return max(least_rows, math.ceil(least_per_class * rows / rarer)) if rarer else None


def rows_for_auc(estimate: AucEstimate, threshold: float, *, level: float = 0.95) -> int | None:
    """Return how many rows are needed until the lower end of the logit interval of this AUC reaches the threshold.

    Args:
        estimate: The AUC and its standard error.
        threshold: The AUC to be reached, in (0, 1).
        level: Two-sided coverage of the interval.

    Returns:
        None if no number of rows is enough, because the AUC is not above the threshold. At an AUC of 1, the interval has an exact
        bound, and the number follows from it: see `estimate_auc`.
    """
    check_level(level)
    auc, rows = estimate.auc, estimate.positives + estimate.negatives
    if not 0 < threshold < auc:
        return None
    if auc == 1:
        pairs = math.log((1 - level) / 2) / math.log(threshold)
        return math.ceil(pairs * rows / min(estimate.positives, estimate.negatives))
    error = estimate.standard_error / (auc * (1 - auc))
    half_width = float(ndtri((1 + level) / 2)) * error
    return math.ceil(rows * (half_width / float(logit(auc) - logit(threshold))) ** 2)


def rows_for_share(share: float, threshold: float, *, level: float = 0.95) -> int | None:
    """Return how many rows are needed until the lower end of the Wilson interval of this share reaches the threshold.

    The lower end is the share p at which the observed share s lies z standard errors above p, so n = z² p (1 - p) / (s - p)².

    Args:
        share: The observed share.
        threshold: The share to be reached, in (0, 1).
        level: Two-sided coverage of the interval.

    Returns:
        None if no number of rows is enough, because the share is not above the threshold.
    """
    check_level(level)
    if not 0 < threshold < share:
        return None
    z = float(ndtri((1 + level) / 2))
    return math.ceil(z**2 * threshold * (1 - threshold) / (share - threshold) ** 2)
