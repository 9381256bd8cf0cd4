"""Curves for a report: the ROC curve and the calibration of one model, reduced to as many points as a page can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sluice.statistics.proportions import wilson_interval
from sluice.statistics.samples import read_labels, read_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sluice.statistics.samples import Floats

_FEWEST_POINTS = 2


@dataclass(frozen=True, slots=True)
class RocPoints:
    """Points of a ROC curve from (0, 0) to (1, 1). Both coordinates rise.

    Attributes:
        fpr: False positive rates.
        tpr: True positive rates.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CalibrationPoints:
    """One point per bin of scores, from the lowest bin to the highest.

    Attributes:
        predicted: Mean score of the bin.
        observed: Share of positives in the bin.
        low: Lower end of the 95 % Wilson interval of `observed`.
        high: Upper end of the same interval.
        rows: Rows in the bin.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rows: tuple[int, ...]


def roc_points(labels: ArrayLike, scores: ArrayLike, *, max_points: int = 200) -> RocPoints:
    """Return the ROC curve, with at most `max_points` points that are spread evenly along it.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), without NaN. A higher score means more likely positive.
        max_points: Largest number of points, at least 2.

    Raises:
        ValueError: The lengths differ, there is a NaN, only one class or another label, or `max_points` is below 2.
    """
    if max_points < _FEWEST_POINTS:
        raise ValueError(f"a curve needs at least {_FEWEST_POINTS} points, not {max_points}")
    positive = read_labels(labels)
    values = read_scores(scores, positive.size)
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), positive.size - 1)  # The last row of each group of ties.
    true = np.append(0, np.cumsum(positive[order])[ends])
    false = np.append(0, ends + 1) - true
    tpr, fpr = true / true[-1], false / false[-1]
    if tpr.size > max_points:
        kept = _pick_evenly(tpr + fpr, max_points)
        tpr, fpr = tpr[kept], fpr[kept]
    return RocPoints(tuple(fpr.tolist()), tuple(tpr.tolist()))


def calibration_points(labels: ArrayLike, scores: ArrayLike, *, bins: int = 10) -> CalibrationPoints:
    """Return the observed and the predicted rate in bins of about equally many rows. Rows with equal scores share a bin.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), probabilities in [0, 1].
        bins: Largest number of bins, at least 1. There are fewer bins if scores tie.

    Raises:
        ValueError: The lengths differ, a score is not a probability, there is only one class or another label, or `bins` is below
            1.
    """
    if bins < 1:
        raise ValueError(f"there must be at least one bin, not {bins}")
    positive = read_labels(labels)
    values = read_scores(scores, positive.size)
    if values.min() < 0 or values.max() > 1:
        raise ValueError("calibration needs scores that are probabilities in [0, 1]")
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="lower"))
    groups = np.searchsorted(edges, values, side="left")
    _, members, rows = np.unique(groups, return_inverse=True, return_counts=True)
    predicted = np.bincount(members, weights=values) / rows
    positives = np.bincount(members[positive], minlength=rows.size)
    intervals = [wilson_interval(int(hits), int(trials)) for hits, trials in zip(positives, rows, strict=True)]
    return CalibrationPoints(
        predicted=tuple(predicted.tolist()),
        observed=tuple((positives / rows).tolist()),
        low=tuple(interval.low for interval in intervals),
        high=tuple(interval.high for interval in intervals),
        rows=tuple(rows.tolist()),
    )


def _pick_evenly(along: Floats, max_points: int) -> NDArray[np.intp]:
    """Return at most `max_points` indices, about evenly spaced in the rising coordinate `along`, with the first and the last."""
    wanted = np.linspace(along[0], along[-1], max_points)
    nearest = np.minimum(np.searchsorted(along, wanted), along.size - 1)
    return np.asarray(np.unique(nearest), dtype=np.intp)
