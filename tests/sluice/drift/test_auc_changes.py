"""The champion's AUC on recent labelled rows against its AUC on the test rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from sluice.drift.auc_changes import AucChange, compare_aucs, estimate_before
from sluice.drift.comparisons import DriftOutcome
from sluice.errors import DataError
from sluice.statistics.auc import compare_independent_auc, estimate_auc

RULE = {"tolerated": 0.02, "alpha": 0.01}
Rows = tuple[np.ndarray, np.ndarray]


def draw(rng: np.random.Generator, rows: int, auc: float, *, positives: float = 0.2) -> Rows:
    labels = rng.random(rows) < positives
    return labels.astype(int), rng.normal(size=rows) + math.sqrt(2) * norm.ppf(auc) * labels


def compare(rows: int, auc: float, *, test_rows: int = 10_000, seed: int = 1) -> AucChange:
    rng = np.random.default_rng(seed)
    return compare_aucs(estimate_before(*draw(rng, test_rows, 0.85)), draw(rng, rows, auc), **RULE)


def test_a_fallen_auc_is_drift() -> None:
    change = compare(2_000, 0.78)
    assert change.outcome is DriftOutcome.DRIFTED
    assert change.difference is not None
    assert change.difference.interval.high < 0
    assert "the champion's AUC is 0.7" in change.detail
    assert "more than the tolerated 0.02" in change.detail
    assert change.to_dict()["outcome"] == "drifted"


@pytest.mark.parametrize("auc", [0.85, 0.90])
def test_an_auc_that_has_not_fallen_is_steady(auc: float) -> None:
    change = compare(10_000, auc)
    assert change.outcome is DriftOutcome.STEADY
    assert "with 95% confidence it has " in change.detail


def test_few_recent_rows_are_inconclusive_and_the_message_says_how_many_are_needed() -> None:
    change = compare(300, 0.85)
    assert change.outcome is DriftOutcome.INCONCLUSIVE
    needed = int(change.hint.split(" recent rows")[0].removeprefix("About ").replace(",", ""))
    outcomes = [compare(needed, 0.85, seed=seed).outcome for seed in range(100)]
    assert 70 <= outcomes.count(DriftOutcome.STEADY) <= 92  # 80 are expected


def test_with_a_single_class_or_few_positives_there_is_no_auc() -> None:
    rng = np.random.default_rng(1)
    before = draw(rng, 2_000, 0.85)
    for labels in (np.zeros(500), np.r_[np.ones(9), np.zeros(500)]):
        change = compare_aucs(estimate_before(*before), (labels, rng.random(labels.size)), **RULE)
        assert (change.outcome, change.now) == (DriftOutcome.INCONCLUSIVE, None)
        assert "too few recent rows" in change.detail


def test_too_few_test_rows_are_said_to_be_the_reason() -> None:
    change = compare(50_000, 0.85, test_rows=400)
    assert change.outcome is DriftOutcome.INCONCLUSIVE
    assert "too few test rows" in change.hint
    rng = np.random.default_rng(1)
    with pytest.raises(DataError, match="test rows have fewer than 10"):
        compare_aucs(estimate_before(np.r_[1, np.zeros(50)], rng.random(51)), draw(rng, 1_000, 0.85), **RULE)


def test_scores_that_are_not_numbers_are_an_error() -> None:
    rng = np.random.default_rng(1)
    before, (labels, scores) = draw(rng, 2_000, 0.85), draw(rng, 1_000, 0.85)
    scores[3] = math.nan
    with pytest.raises(DataError, match="the recent rows cannot be judged: 1 of 1000 scores are NaN"):
        compare_aucs(estimate_before(*before), (labels, scores), **RULE)


def test_a_perfect_model_whose_errors_begin_is_found() -> None:
    labels = np.arange(1_000) % 2
    change = compare_aucs(estimate_before(labels, labels * 1.0), (labels, np.where(np.arange(1_000) < 200, 0.5, labels)), **RULE)
    assert change.outcome is DriftOutcome.DRIFTED
    assert change.difference is not None
    assert change.difference.standard_error > 0


def test_the_variances_of_independent_aucs_add() -> None:
    rng = np.random.default_rng(2)
    before, after = (estimate_auc(*draw(rng, rows, auc)) for rows, auc in ((3_000, 0.85), (1_000, 0.8)))
    found = compare_independent_auc(before, after)
    assert found.difference == after.auc - before.auc
    assert found.standard_error == pytest.approx(math.hypot(before.standard_error, after.standard_error))
    assert found.interval.high - found.interval.low == pytest.approx(2 * norm.ppf(0.975) * found.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [500, 2_000, 10_000])
def test_an_unchanged_auc_gives_an_alarm_in_at_most_one_per_cent(rows: int) -> None:
    outcomes = [compare(rows, 0.85, seed=seed).outcome for seed in range(2_000)]
    assert np.mean([outcome is DriftOutcome.DRIFTED for outcome in outcomes]) <= 0.015


@pytest.mark.slow
def test_an_auc_that_has_fallen_by_more_than_is_tolerated_is_called_steady_in_at_most_five_per_cent() -> None:
    outcomes = [compare(3_000, 0.83, seed=seed).outcome for seed in range(2_000)]
    assert np.mean([outcome is DriftOutcome.STEADY for outcome in outcomes]) <= 0.06


@pytest.mark.slow
def test_a_fall_of_five_points_is_found_with_2000_rows() -> None:
    outcomes = [compare(2_000, 0.80, seed=seed).outcome for seed in range(1_000)]
    assert np.mean([outcome is DriftOutcome.DRIFTED for outcome in outcomes]) >= 0.9
