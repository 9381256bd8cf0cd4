"""The area under the ROC curve: its interval, and the paired comparison of two scores on the same rows.

DeLong, DeLong & Clarke-Pearson (Biometrics 1988), in O(n log n) by ranks as in Sun & Xu (IEEE Signal Processing Letters
2014). The interval of one AUC is made on the logit scale, which covers small samples where the plain one does not (at 30
rows .94 against .86).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit, ndtri

from sluice.statistics.samples import check_level, read_labels, read_scores
from sluice.verdicts import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sluice.statistics.samples import Floats, Truths


@dataclass(frozen=True, slots=True)
class AucEstimate:
    """An AUC with its precision.

    Attributes:
        auc: Area under the ROC curve, ties count one half, in [0, 1].
        standard_error: DeLong's; 0 at an AUC of 0 or 1, where it says nothing and the interval is made another way.
        interval: Two-sided; method ``"logit-DeLong"``, or ``"disjoint-pairs"`` at an AUC of 0 or 1.
        positives: Rows with label 1.
        negatives: Rows with label 0.
    """

    auc: float
    standard_error: float
    interval: Interval
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class AucDifference:
    """The difference of two AUCs on the same rows.

    Attributes:
        difference: ``auc_b - auc_a``, in [-1, 1].
        standard_error: Paired DeLong; 0 where both scores rank every pair alike.
        interval: Two-sided, on the plain scale, cut at -1 and 1; method ``"paired-DeLong"``.
        auc_a: AUC of the first scores.
        auc_b: AUC of the second scores.
    """

    difference: float
    standard_error: float
    interval: Interval
    auc_a: float
    auc_b: float

    def lower_bound(self, alpha: float) -> float:
        """One-sided lower confidence bound of the difference.

        Args:
            alpha: Chance, in (0, 1), that the bound lies above the truth.

        Raises:
            ValueError: `alpha` is not such a chance.
        """
        check_level(alpha)
        return max(-1.0, self.difference + float(ndtri(alpha)) * self.standard_error)


def estimate_auc(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> AucEstimate:
    """AUC with DeLong's standard error and an interval on the logit scale.

    At an AUC of 0 or 1 DeLong's variance is 0 and the logit infinite. Perfect order means that every one of k =
    min(positives, negatives) disjoint, hence independent, pairs is in order, so the truth is at least (alpha / 2)^(1 / k)
    with confidence: an exact bound. Where one class has a single row, whose spread cannot be estimated, the largest
    variance that values in [0, 1] can have stands in for it.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), higher means more likely positive; no NaN.
        level: Two-sided coverage of the interval.

    Raises:
        ValueError: Unequal lengths, NaN, one class only, other labels, or a level outside (0, 1).
    """
    check_level(level)
    positive = read_labels(labels)
    values = read_scores(scores, positive.size)
    auc, of_positives, of_negatives = _place(positive, values)
    largest = auc * (1 - auc)
    variance = _mean_variance(of_positives, largest) + _mean_variance(of_negatives, largest)
    error = math.sqrt(variance)
    interval = _auc_interval(auc, error, min(of_positives.size, of_negatives.size), level)
    return AucEstimate(auc, error, interval, of_positives.size, of_negatives.size)


def compare_auc(labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, *, level: float = 0.95) -> AucDifference:
    """Paired DeLong: the difference of two AUCs on the same rows, b minus a.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores_a: Shape (rows,), the one compared with, for example the champion's; no NaN.
        scores_b: Shape (rows,), the other, for example the challenger's; no NaN.
        level: Two-sided coverage of the interval.

    Raises:
        ValueError: Unequal lengths, NaN, one class only, other labels, or a level outside (0, 1).
    """
    check_level(level)
    positive = read_labels(labels)
    auc_a, positives_a, negatives_a = _place(positive, read_scores(scores_a, positive.size))
    auc_b, positives_b, negatives_b = _place(positive, read_scores(scores_b, positive.size))
    of_positives, of_negatives = positives_b - positives_a, negatives_b - negatives_a
    difference = auc_b - auc_a
    if not of_positives.any() and not of_negatives.any():
        return AucDifference(0.0, 0.0, Interval(0.0, 0.0, level, "paired-DeLong"), auc_a, auc_b)
    largest = 1 - difference**2
    error = math.sqrt(_mean_variance(of_positives, largest) + _mean_variance(of_negatives, largest))
    reach = float(ndtri((1 + level) / 2)) * error
    interval = Interval(max(-1.0, difference - reach), min(1.0, difference + reach), level, "paired-DeLong")
    return AucDifference(difference, error, interval, auc_a, auc_b)


def _place(positive: Truths, scores: Floats) -> tuple[float, Floats, Floats]:
    """The AUC and DeLong's structural components.

    For each positive the share of negatives below it, for each negative the share of positives above it; ties count one
    half. Counting in whole numbers keeps the AUC exact whatever the number of pairs.
    """
    positives, negatives = scores[positive], scores[~positive]
    twice_below = _count_twice_below(positives, negatives)
    twice_above = 2 * positives.size - _count_twice_below(negatives, positives)
    pairs = positives.size * negatives.size
    return (
        int(twice_below.sum()) / (2 * pairs),
        twice_below / (2 * negatives.size),
        twice_above / (2 * positives.size),
    )


def _count_twice_below(values: Floats, others: Floats) -> NDArray[np.int64]:
    """For each value: twice the number of others below it plus the number of others equal to it."""
    order = np.argsort(values)
    ascending, ordered = values[order], np.sort(others)
    twice = np.empty(values.size, dtype=np.int64)
    # Looking up ascending values walks memory forwards: several times faster at a million rows.
    twice[order] = np.searchsorted(ordered, ascending, "left") + np.searchsorted(ordered, ascending, "right")
    return twice


def _mean_variance(components: Floats, largest: float) -> float:
    """Variance of the mean of components; `largest` stands in for the spread of a single one."""
    spread = float(np.var(components, ddof=1)) if components.size > 1 else largest
    return spread / components.size


def _auc_interval(auc: float, error: float, pairs: int, level: float) -> Interval:
    tail = (1 - level) / 2
    if auc in (0.0, 1.0):
        bound = tail ** (1 / pairs)
        low, high = (bound, 1.0) if auc else (0.0, 1 - bound)
        return Interval(low, high, level, "disjoint-pairs")
    reach = -float(ndtri(tail)) * error / (auc * (1 - auc))
    centre = float(logit(auc))
    return Interval(float(expit(centre - reach)), float(expit(centre + reach)), level, "logit-DeLong")
