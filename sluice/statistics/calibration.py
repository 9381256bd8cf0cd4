"""Whether probabilities are right on average, and whether they are spread as they should be.

Both are classical quantities with intervals that hold (Cox, Biometrika 1958; Steyerberg, Clinical Prediction Models, chapter 15).
The expected calibration error is not used: its value depends on the bins, and it is above zero even for perfect probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2, t

from sluice.statistics.samples import check_level, read_labels, read_scores
from sluice.verdicts import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Booleans, Floats

_SMALLEST = 1e-9
"""Probabilities are moved this far away from 0 and 1, where their log odds are infinite."""

_STEEPEST = 1e3
"""The steepest slope that is tried, for log odds with a standard deviation of 1."""

_FLAT = 1e-6
"""If the deviance still falls, or no longer rises, at the steepest slope, then the scores separate the labels perfectly."""


@dataclass(frozen=True, slots=True)
class CalibrationMean:
    """How much the probabilities are too high on average.

    Attributes:
        difference: Mean probability minus the share of positives, in [-1, 1].
        interval: Two-sided Student t interval of the difference.
    """

    difference: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class CalibrationSlope:
    """How the log odds of the probabilities should be stretched.

    Attributes:
        slope: 1 if the probabilities are spread as they should be. Below 1 they are too extreme, above 1 too timid. May be
            infinite if the scores separate the labels perfectly.
        interval: Two-sided interval by profile likelihood.
    """

    slope: float
    interval: Interval


def estimate_calibration_mean(labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95) -> CalibrationMean:
    """Return the mean probability minus the share of positives (calibration in the large).

    Args:
        labels: Shape (rows,), 0 or 1.
        probabilities: Shape (rows,), in [0, 1].
        level: Two-sided coverage of the interval.

    Raises:
        ValueError: The lengths differ, a score is not a probability, there is only one class or another label, or the level lies
            outside (0, 1).
    """
    check_level(level)
    positive, given = _read(labels, probabilities)
    excess = given - positive
    mean, error = float(excess.mean()), float(excess.std(ddof=1)) / math.sqrt(excess.size)
    half_width = float(t.ppf((1 + level) / 2, excess.size - 1)) * error
    return CalibrationMean(mean, Interval(max(-1.0, mean - half_width), min(1.0, mean + half_width), level, "Student t"))


def estimate_calibration_slope(labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95) -> CalibrationSlope:
    """Return the slope of a logistic regression of the labels on the log odds of the probabilities.

    The interval contains the slopes that a likelihood ratio test does not reject.

    Args:
        labels: Shape (rows,), 0 or 1.
        probabilities: Shape (rows,), in [0, 1]. Not all may be equal.
        level: Two-sided coverage of the interval.

    Raises:
        ValueError: The lengths differ, a score is not a probability, all probabilities are equal, there is only one class or
            another label, or the level lies outside (0, 1).
    """
    check_level(level)
    positive, given = _read(labels, probabilities)
    odds = logit(np.clip(given, _SMALLEST, 1 - _SMALLEST))
    odds = odds - odds.mean()  # the intercept absorbs the mean, and the fit becomes stable
    spread = float(odds.std())
    if spread == 0:
        raise ValueError("all probabilities are equal, so they have no slope")
    steepest = _STEEPEST / spread

    def deviance(slope: float) -> float:
        scores = slope * odds + _fit_intercept(positive, slope * odds)
        return float(2 * np.logaddexp(0.0, np.where(positive, -scores, scores)).sum())

    def descent(slope: float) -> float:
        """Return half the derivative of the deviance. It rises with the slope, because the deviance is convex."""
        errors = expit(slope * odds + _fit_intercept(positive, slope * odds)) - positive
        return float((errors * odds).sum())

    if descent(steepest) < _FLAT or descent(-steepest) > -_FLAT:
        best = math.copysign(math.inf, -descent(0.0))
    else:
        best = float(brentq(descent, -steepest, steepest))
    nearest = float(np.clip(best, -steepest, steepest))
    limit = deviance(nearest) + float(chi2.ppf(level, 1))

    def find_end(side: float) -> float:
        furthest = side * steepest
        if deviance(furthest) <= limit:
            return math.copysign(math.inf, side)
        return float(brentq(lambda slope: deviance(slope) - limit, nearest, furthest))

    return CalibrationSlope(best, Interval(find_end(-1.0), find_end(1.0), level, "profile likelihood"))


def _fit_intercept(positive: Booleans, offsets: Floats) -> float:
    """Return the intercept with which the fitted probabilities have the right sum. The sum rises with it, so there is one."""
    total = int(np.count_nonzero(positive))
    furthest = float(np.abs(offsets).max()) + float(abs(logit(total / positive.size))) + 1.0
    return float(brentq(lambda intercept: float(expit(offsets + intercept).sum()) - total, -furthest, furthest))


def _read(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Booleans, Floats]:
    positive = read_labels(labels)
    given = read_scores(probabilities, positive.size)
    if given.min() < 0 or given.max() > 1:
        raise ValueError("calibration needs scores that are probabilities in [0, 1]")
    return positive, given
