"""One-sided tests of an AUC against a threshold, so that several AUCs can be tested together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.special import logit, ndtr

if TYPE_CHECKING:
    from sluice.statistics.auc import AucEstimate


def p_value_above(estimate: AucEstimate, threshold: float) -> float:
    """Return the p-value of the hypothesis that the true AUC is at most the threshold. A small value shows that it is above.

    It is consistent with the interval of `estimate_auc`: the p-value is below (1 - level) / 2 if and only if the threshold lies
    below the interval.

    Args:
        estimate: The AUC and its standard error.
        threshold: The AUC to compare with, in [0, 1].

    Raises:
        ValueError: The threshold lies outside [0, 1].
    """
    _check_threshold(threshold)
    if estimate.auc in {0.0, 1.0}:
        return threshold ** min(estimate.positives, estimate.negatives) if estimate.auc else 1.0
    return float(ndtr(-_distance(estimate, threshold)))


def p_value_below(estimate: AucEstimate, threshold: float) -> float:
    """Return the p-value of the hypothesis that the true AUC is at least the threshold. A small value shows that it is below.

    Args:
        estimate: The AUC and its standard error.
        threshold: The AUC to compare with, in [0, 1].

    Raises:
        ValueError: The threshold lies outside [0, 1].
    """
    _check_threshold(threshold)
    if estimate.auc in {0.0, 1.0}:
        return 1.0 if estimate.auc else (1 - threshold) ** min(estimate.positives, estimate.negatives)
    return float(ndtr(_distance(estimate, threshold)))


def _distance(estimate: AucEstimate, threshold: float) -> float:
    """Return how many standard errors the AUC lies above the threshold, on the logit scale."""
    error = estimate.standard_error / (estimate.auc * (1 - estimate.auc))
    return float((logit(estimate.auc) - logit(threshold)) / error)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold of an AUC must lie in [0, 1], not {threshold}")
