"""Calibration in the large and the calibration slope, against another implementation and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from sluice.statistics.calibration import estimate_calibration_mean, estimate_calibration_slope


def sample(rows: int, seed: int, *, slope: float = 1.0, centre: float = -0.8) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities whose log odds have this slope."""
    random = np.random.default_rng(seed)
    odds = random.normal(0.0, 1.3, rows)
    return random.random(rows) < expit(centre + slope * odds), expit(centre + odds)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_slope_is_that_of_a_logistic_regression(slope: float) -> None:
    labels, probabilities = sample(3000, 1, slope=slope)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(probabilities)[:, None], labels)
    found = estimate_calibration_slope(labels, probabilities)
    assert found.slope == pytest.approx(fitted.coef_[0, 0], rel=1e-5)
    assert found.interval.low < found.slope < found.interval.high


def test_the_interval_contains_the_slopes_that_a_likelihood_ratio_test_accepts() -> None:
    labels, probabilities = sample(300, 2)
    odds = logit(probabilities)
    found = estimate_calibration_slope(labels, probabilities)

    def deviance(slope: float) -> float:
        intercepts = np.linspace(-3, 3, 6001)
        scores = intercepts[:, None] + slope * odds
        return 2 * float(np.logaddexp(0, np.where(labels, -scores, scores)).sum(axis=1).min())

    for end in (found.interval.low, found.interval.high):
        assert deviance(end) - deviance(found.slope) == pytest.approx(3.841, abs=0.01)


def test_the_mean_is_the_difference_of_the_means() -> None:
    found = estimate_calibration_mean([0, 1, 1, 0], [0.2, 0.6, 0.8, 0.8])
    assert found.difference == pytest.approx(0.1)
    assert found.interval.low < 0.1 < found.interval.high


def test_perfect_separation_has_an_infinite_slope() -> None:
    labels = np.arange(40) < 20
    rising = np.linspace(0.1, 0.9, 40)
    assert estimate_calibration_slope(~labels, rising).slope == math.inf
    assert estimate_calibration_slope(labels, rising).slope == -math.inf
    assert estimate_calibration_slope(~labels, rising).interval.low > 1


def test_probabilities_of_0_and_1_are_moved_inside() -> None:
    labels, probabilities = sample(400, 3)
    probabilities[:2], labels[:2] = (0.0, 1.0), (False, True)
    assert 0.3 < estimate_calibration_slope(labels, probabilities).slope < 1.5


@pytest.mark.parametrize(
    ("labels", "probabilities", "reason"),
    [
        ([0, 1], [0.5, 0.5], "no slope"),
        ([0, 1], [0.5, 1.5], "probabilities in"),
        ([0, 1], [0.5, np.nan], "NaN"),
        ([1, 1], [0.5, 0.6], "both classes"),
        (["0", "1"], [0.5, 0.6], "must be numbers"),
    ],
)
def test_unusable_input_is_an_error(labels: list[int], probabilities: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        estimate_calibration_slope(labels, probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 300])
@pytest.mark.parametrize("slope", [1.0, 0.6])
def test_the_intervals_cover_the_truth_as_often_as_they_say(rows: int, slope: float) -> None:
    """The judgement shows these intervals from 100 rows on, 20 of either label."""
    truth = estimate_true_mean(slope)
    covered = np.zeros(2)
    trials = 0
    for seed in range(1500):
        labels, probabilities = sample(rows, seed, slope=slope)
        if min(labels.sum(), rows - labels.sum()) < 20:
            continue
        trials += 1
        steep = estimate_calibration_slope(labels, probabilities).interval
        mean = estimate_calibration_mean(labels, probabilities).interval
        covered += [steep.low <= slope <= steep.high, mean.low <= truth <= mean.high]
    assert trials > 1400
    assert np.all((covered / trials >= 0.93) & (covered / trials <= 0.97)), covered / trials


def estimate_true_mean(slope: float, centre: float = -0.8) -> float:
    """Return the true difference of mean probability and rate, by integration over the normal distribution of the log odds."""
    odds = np.linspace(-12, 12, 20001)
    weights = np.exp(-0.5 * (odds / 1.3) ** 2)
    return float(np.average(expit(centre + odds) - expit(centre + slope * odds), weights=weights))
