"""Curves for a report: the ROC and the calibration of one model's scores, thinned to what a page can show."""

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
    """Corners of a ROC curve from (0, 0) to (1, 1), both coordinates rising.

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
        high: Its upper end.
        rows: Rows in the bin.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rows: tuple[int, ...]


def roc_points(labels: ArrayLike, scores: ArrayLike, *, most: int = 200) -> RocPoints:
    """The ROC curve, at most `most` of its points, spread evenly along it.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), higher means more likely positive; no NaN.
        most: Number of points at most, at least 2.

    Raises:
        ValueError: Unequal lengths, NaN, one class only, other labels, or fewer than two points.
    """
    if most < _FEWEST_POINTS:
        raise ValueError(f"a curve needs at least {_FEWEST_POINTS} points, not {most}")
    positive = read_labels(labels)
    values = read_scores(scores, positive.size)
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), positive.size - 1)  # the last row of each group of ties
    true = np.append(0, np.cumsum(positive[order])[ends])
    false = np.append(0, ends + 1) - true
    tpr, fpr = true / true[-1], false / false[-1]
    if tpr.size > most:
        kept = _spread(tpr + fpr, most)
        tpr, fpr = tpr[kept], fpr[kept]
    return RocPoints(tuple(fpr.tolist()), tuple(tpr.tolist()))


def calibration_points(labels: ArrayLike, scores: ArrayLike, *, bins: int = 10) -> CalibrationPoints:
    """Observed against predicted rate in bins of about equally many rows; rows with equal scores share a bin.

    Args:
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), probabilities in [0, 1].
        bins: Number of bins at most, at least 1; fewer where scores tie.

    Raises:
        ValueError: Unequal lengths, NaN, a score that is no probability, one class only, other labels, or no bins.
    """
    if bins < 1:
        raise ValueError(f"there must be at least one bin, not {bins}")
    positive = read_labels(labels)
    values = read_scores(scores, positive.size)
    if values.min() < 0 or values.max() > 1:
        raise ValueError("calibration needs scores that are probabilities, in [0, 1]")
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


def _spread(along: Floats, most: int) -> NDArray[np.intp]:
    """Indices of at most `most` points, the first and last among them, about evenly spaced in the rising coordinate `along`."""
    wanted = np.linspace(along[0], along[-1], most)
    nearest = np.minimum(np.searchsorted(along, wanted), along.size - 1)
    return np.asarray(np.unique(nearest), dtype=np.intp)
