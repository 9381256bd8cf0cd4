"""Verdicts about calibration."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.special import expit, logit

from sluice.checks.judgements import judge_calibration
from sluice.errors import DataError
from sluice.verdicts import Outcome


def sample(rows: int = 4000, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probabilities = expit(random.normal(-1.0, 1.3, rows))
    return (random.random(rows) < probabilities).astype(int), probabilities


def test_right_probabilities_pass() -> None:
    labels, probabilities = sample()
    mean, slope = judge_calibration("calibration", labels, probabilities)
    assert (mean.check, mean.outcome, mean.unproven) == ("calibration_mean", Outcome.PASS, False)
    assert (mean.threshold, mean.upper) == (-0.05, 0.05)
    assert (slope.check, slope.outcome, slope.unproven) == ("calibration_slope", Outcome.PASS, False)
    assert (mean.interval.method, slope.interval.method) == ("Student t", "profile likelihood")


@pytest.mark.parametrize(
    ("shift", "stretch", "wrong", "detail"),
    [(0.8, 1, 0, "too high"), (-0.8, 1, 0, "too low"), (0, 2, 1, "too extreme"), (0, 0.5, 1, "too timid")],
)
def test_wrong_probabilities_fail_the_verdict_that_is_about_them(shift: float, stretch: float, wrong: int, detail: str) -> None:
    labels, probabilities = sample()
    odds = logit(probabilities)
    given = expit(odds.mean() + stretch * (odds - odds.mean()) + shift)
    verdicts = judge_calibration("calibration", labels, given, most=0.08)
    assert verdicts[wrong].outcome is Outcome.FAIL
    assert verdicts[wrong].detail.endswith(detail)
    assert verdicts[1 - wrong].outcome is Outcome.PASS
    bounds = (verdicts[wrong].threshold, verdicts[wrong].upper)
    assert not bounds[0] <= verdicts[wrong].observed <= bounds[1]


def test_a_value_that_is_outside_perhaps_by_chance_is_inconclusive() -> None:
    labels, probabilities = sample(120, seed=3)
    _, slope = judge_calibration("calibration", labels, probabilities, slope=(0.99, 1.01))
    assert slope.outcome is Outcome.INCONCLUSIVE
    assert slope.interval.low < 0.99
    assert slope.interval.high > 1.01
    assert re.fullmatch(
        r"perhaps the probabilities are too (extreme|timid), but with so few rows this may be chance; "
        r"if the value stays, about [\d,]+ rows show it",
        slope.detail,
    )


def test_few_rows_are_inconclusive_and_say_how_many_are_needed() -> None:
    labels = np.arange(90) < 9
    verdicts = judge_calibration("calibration", labels, np.full(90, 0.1))
    assert [verdict.outcome for verdict in verdicts] == [Outcome.INCONCLUSIVE] * 2
    assert verdicts[0].detail == (
        "90 rows with 9 positive; calibration needs 100 rows and 20 of either label; about 200 rows are needed"
    )


@pytest.mark.parametrize("score", [np.nan, np.inf, -0.1, 1.1])
def test_scores_that_are_no_probabilities_fail(score: float) -> None:
    labels, probabilities = sample(200)
    probabilities[:3] = score
    (verdict,) = judge_calibration("calibration", labels, probabilities)
    assert (verdict.outcome, verdict.detail) == (Outcome.FAIL, "3 scores are not probabilities")


def test_equal_probabilities_have_no_slope() -> None:
    labels, _ = sample(400)
    mean, slope = judge_calibration("calibration", labels, np.full(400, labels.mean()))
    assert (mean.outcome, slope.outcome) == (Outcome.PASS, Outcome.INCONCLUSIVE)
    assert slope.detail == "all probabilities are equal, so they have no slope"


def test_scores_that_separate_the_labels_perfectly_fail() -> None:
    labels = np.arange(200) < 100
    _, slope = judge_calibration("calibration", labels, np.where(labels, 0.6, 0.4))
    assert (slope.outcome, slope.observed) == (Outcome.FAIL, None)


@pytest.mark.parametrize("slope", [(1.25, 0.8), (0.8,), (0.8, np.nan), (-1, 2)])
def test_bounds_that_cannot_be_used_are_an_error(slope: tuple[float, ...]) -> None:
    labels, probabilities = sample(200)
    with pytest.raises(DataError, match="slope must be"):
        judge_calibration("calibration", labels, probabilities, slope=slope)


def test_labels_of_another_kind_are_an_error() -> None:
    labels, probabilities = sample(200)
    with pytest.raises(DataError, match="labels must be numbers"):
        judge_calibration("calibration", labels.astype(str), probabilities)
