"""Verdicts from a model's predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sluice.checks.judgements import judge_auc, judge_coverage, judge_share, predict_probability
from sluice.errors import DataError
from sluice.verdicts import Outcome


def labels_and_scores(rows: int, *, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    labels = (np.arange(rows) % 4 == 0).astype(int)
    return labels, labels * signal + generator.normal(size=rows)


def test_an_auc_below_its_threshold_fails_and_above_passes() -> None:
    labels, scores = labels_and_scores(4000)
    passed = judge_auc("auc", labels, scores, threshold=0.7)
    assert (passed.outcome, passed.unproven, passed.rows) == (Outcome.PASS, False, 4000)
    assert passed.observed == pytest.approx(0.76, abs=0.02)
    assert passed.interval.method == "logit-DeLong"
    assert judge_auc("auc", labels, scores, threshold=0.9).outcome is Outcome.FAIL


def test_an_auc_is_unproven_if_its_interval_reaches_below_the_threshold() -> None:
    labels, scores = labels_and_scores(200)
    observed = judge_auc("auc", labels, scores, threshold=0.5).observed
    verdict = judge_auc("auc", labels, scores, threshold=observed - 0.001)
    assert (verdict.outcome, verdict.unproven) == (Outcome.PASS, True)


@pytest.mark.parametrize(("rows", "positives"), [(29, 12), (100, 9), (100, 91), (0, 0)])
def test_an_auc_of_few_rows_is_inconclusive(rows: int, positives: int) -> None:
    labels = np.arange(rows) < positives
    verdict = judge_auc("auc", labels, np.arange(rows), threshold=0.8)
    assert (verdict.outcome, verdict.observed) == (Outcome.INCONCLUSIVE, None)
    assert f"{rows} rows with {positives} positive" in verdict.detail


def test_an_auc_of_exactly_the_required_rows_is_judged() -> None:
    labels = np.arange(30) < 10
    assert judge_auc("auc", labels, labels.astype(float), threshold=0.8).outcome is Outcome.PASS


def test_an_auc_of_scores_that_are_not_finite_fails() -> None:
    labels, scores = labels_and_scores(100)
    scores[[3, 4]] = np.nan
    verdict = judge_auc("auc", labels, scores, threshold=0.5, detail="enterprise")
    assert (verdict.outcome, verdict.detail) == (Outcome.FAIL, "enterprise; 2 scores are not finite")


def test_an_auc_of_labels_and_scores_of_different_lengths_is_an_error() -> None:
    labels, scores = labels_and_scores(100)
    with pytest.raises(ValueError, match=r"length|rows|shape"):
        judge_auc("auc", labels, scores[:-1], threshold=0.5)


def test_a_share_must_exceed_its_threshold() -> None:
    assert judge_share("effect", 90, 100, threshold=0.9).outcome is Outcome.FAIL
    just = judge_share("effect", 91, 100, threshold=0.9)
    assert (just.outcome, just.unproven) == (Outcome.PASS, True)
    proven = judge_share("effect", 9900, 10000, threshold=0.9, ties=100)
    assert (proven.unproven, proven.detail) == (False, "100 ties")


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_share_lies_in_its_interval(hits: int, misses: int) -> None:
    verdict = judge_share("effect", hits, hits + misses, threshold=0.5)
    if hits + misses < 30:
        assert verdict.outcome is Outcome.INCONCLUSIVE
    else:
        assert verdict.interval.low <= verdict.observed <= verdict.interval.high
        assert (verdict.outcome is Outcome.PASS) == (hits > misses)
        assert verdict.unproven == (hits > misses and verdict.interval.low < 0.5)


def test_impossible_counts_of_a_share_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        judge_share("effect", 8, 10, threshold=0.5, ties=3)
    with pytest.raises(ValueError, match="do not fit"):
        judge_share("effect", -1, 10, threshold=0.5)


@given(st.lists(st.one_of(st.floats(), st.floats(0, 1)), min_size=1, max_size=40), st.integers(-2, 2))
def test_coverage_passes_exactly_when_all_rows_have_a_probability(scores: list[float], more: int) -> None:
    rows = max(len(scores) + more, 1)
    verdict = judge_coverage("coverage", scores, rows)
    good = len(scores) == rows and all(0 <= score <= 1 for score in scores)
    assert (verdict.outcome is Outcome.PASS) == good


def test_the_detail_of_coverage_counts_each_fault() -> None:
    verdict = judge_coverage("coverage", [0.5, np.nan, 1.5, -0.1], pd.DataFrame({"a": range(5)}))
    assert verdict.detail == "1 not finite, 2 out of [0, 1], 1 rows without a prediction"
    assert verdict.observed == 0.2
    assert judge_coverage("coverage", [], 0).outcome is Outcome.INCONCLUSIVE


def test_the_probability_is_that_of_label_one() -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    model = LogisticRegression().fit(frame, (frame["x"] > 0).astype(int))
    scores = predict_probability(model, frame)
    assert scores.shape == (50,)
    assert scores[0] < 0.5 < scores[-1]


def test_a_model_without_label_one_is_an_error() -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    model = LogisticRegression().fit(frame, np.where(frame["x"] > 0, 2, 3))
    with pytest.raises(DataError, match=r"classes \[2, 3\]"):
        predict_probability(model, frame)
