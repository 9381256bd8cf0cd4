"""The curves of the report against those of scikit-learn, and what must survive the reduction of points."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from sluice.statistics.curves import RocPoints, calibration_points, roc_points
from sluice.statistics.proportions import wilson_interval


def area(points: RocPoints) -> float:
    return float(np.sum(np.diff(points.fpr) * (np.array(points.tpr[1:]) + points.tpr[:-1]) / 2))


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=60))]
    values = draw(st.sampled_from([st.integers(0, 4).map(lambda value: value / 4), st.floats(0, 1)]))
    return np.array(labels), np.array(draw(st.lists(values, min_size=len(labels), max_size=len(labels))))


@given(samples())
def test_the_roc_curve_equals_that_of_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    points = roc_points(*sample)
    fpr, tpr, _ = roc_curve(*sample, drop_intermediate=False)
    assert points.fpr == pytest.approx(fpr.tolist())
    assert points.tpr == pytest.approx(tpr.tolist())
    assert area(points) == pytest.approx(roc_auc_score(*sample))


@given(samples(), st.integers(2, 10))
def test_a_reduced_roc_curve_rises_and_keeps_its_ends(sample: tuple[np.ndarray, np.ndarray], most: int) -> None:
    whole, points = roc_points(*sample, max_points=10**6), roc_points(*sample, max_points=most)
    assert len(points.fpr) == len(points.tpr) <= most
    assert (points.fpr[0], points.tpr[0], points.fpr[-1], points.tpr[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(points.fpr) >= 0)
    assert np.all(np.diff(points.tpr) >= 0)
    assert set(zip(points.fpr, points.tpr, strict=True)) <= set(zip(whole.fpr, whole.tpr, strict=True))


def test_two_hundred_points_are_enough_for_the_curve_of_many_rows() -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(50_000) < 0.2
    scores = rng.normal(size=50_000) + 1.5 * labels
    points = roc_points(labels, scores)
    assert 150 < len(points.fpr) <= 200
    assert area(points) == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)


@given(samples(), st.integers(1, 12))
def test_every_row_is_in_exactly_one_calibration_bin(sample: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    labels, scores = sample
    points = calibration_points(labels, scores, bins=bins)
    assert len({len(column) for column in asdict(points).values()}) == 1
    assert 1 <= len(points.rows) <= bins
    assert min(points.rows) >= 1
    assert sum(points.rows) == labels.size
    weights = np.array(points.rows)
    assert weights @ np.array(points.observed) == pytest.approx(labels.sum())
    assert weights @ np.array(points.predicted) == pytest.approx(scores.sum())
    assert np.all(np.diff(points.predicted) > 0)


def test_calibration_bins_are_tenths_of_the_rows() -> None:
    scores = (np.arange(1000) + 0.5) / 1000
    labels = np.arange(1000) % 4 == 0
    points = calibration_points(labels, scores)
    assert points.rows == (100,) * 10
    assert points.predicted == pytest.approx([0.05 + 0.1 * k for k in range(10)])
    assert points.observed == (0.25,) * 10
    interval = wilson_interval(25, 100)
    assert (points.low[3], points.high[3]) == (interval.low, interval.high)


def test_rows_with_equal_scores_share_a_bin() -> None:
    labels = [0, 1] * 50
    points = calibration_points(labels, [0.3] * 60 + [0.9] * 40)
    assert (points.predicted, points.rows) == (pytest.approx((0.3, 0.9)), (60, 40))
    assert calibration_points(labels, [0.5] * 100).rows == (100,)


def test_curves_are_plain_json_types() -> None:
    labels, scores = [0, 1, 1, 0], np.array([0.1, 0.2, 0.8, 0.3], dtype=np.float32)
    for points in (roc_points(labels, scores), calibration_points(labels, scores)):
        assert json.loads(json.dumps(asdict(points), allow_nan=False)) == {
            name: list(column) for name, column in asdict(points).items()
        }


def test_invalid_curve_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2 points"):
        roc_points([0, 1], [0, 1], max_points=1)
    with pytest.raises(ValueError, match="at least one bin"):
        calibration_points([0, 1], [0, 1], bins=0)
    with pytest.raises(ValueError, match="probabilities"):
        calibration_points([0, 1], [0, 1.1])
    for curve in (roc_points, calibration_points):
        with pytest.raises(ValueError, match="NaN"):
            curve([0, 1], [0, math.nan])
        with pytest.raises(ValueError, match="both classes"):
            curve([1, 1], [0, 0.5])
