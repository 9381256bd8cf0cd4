"""Verdicts from a model's predictions."""

from __future__ import annotations

import math
import re

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


@pytest.mark.parametrize(("rows", "positives"), [(29, 12), (100, 9), (100, 91)])
def test_an_auc_of_few_rows_is_inconclusive(rows: int, positives: int) -> None:
    labels = np.arange(rows) < positives
    verdict = judge_auc("auc", labels, np.arange(rows), threshold=0.8)
    assert (verdict.outcome, verdict.observed, verdict.interval) == (Outcome.INCONCLUSIVE, 0.0, None)
    assert f"{rows} rows with {positives} positive" in verdict.detail
    assert "the AUC so far is 0, not above the threshold" in verdict.detail


def test_an_auc_of_no_rows_is_inconclusive() -> None:
    verdict = judge_auc("auc", [], [], threshold=0.8)
    assert (verdict.outcome, verdict.observed) == (Outcome.INCONCLUSIVE, None)
    assert verdict.detail == "0 rows with 0 positive; an AUC needs 30 rows and 10 of either label"


def test_an_inconclusive_auc_says_how_many_rows_are_needed() -> None:
    """With that many rows of the same kind, the interval lies above the threshold."""
    labels, scores = labels_and_scores(28, signal=2.0)
    verdict = judge_auc("auc", labels, scores, threshold=0.9)
    needed = int(re.search(r"about ([\d,]+) rows are needed to show", verdict.detail)[1].replace(",", ""))
    assert verdict.observed > 0.9
    copies = -(-needed // 28)
    enough = judge_auc("auc", np.tile(labels, copies), np.tile(scores, copies), threshold=0.9)
    assert (enough.outcome, enough.unproven) == (Outcome.PASS, False)
    fewer = judge_auc("auc", np.tile(labels, copies // 2), np.tile(scores, copies // 2), threshold=0.9)
    assert fewer.unproven


def test_a_perfect_auc_of_few_rows_says_how_many_rows_are_needed() -> None:
    labels = np.arange(20) < 10
    assert "about 144 rows are needed" in judge_auc("auc", labels, labels.astype(float), threshold=0.95).detail
    assert "about 40 rows are needed" in judge_auc("auc", [0, 0, 0, 1], [0, 0, 0, 1.0], threshold=0.5).detail


def test_an_auc_of_exactly_the_required_rows_is_judged() -> None:
    labels = np.arange(30) < 10
    assert judge_auc("auc", labels, labels.astype(float), threshold=0.8).outcome is Outcome.PASS


def test_an_auc_of_scores_that_are_not_finite_fails() -> None:
    labels, scores = labels_and_scores(100)
    scores[[3, 4]] = np.nan
    verdict = judge_auc("auc", labels, scores, threshold=0.5, detail="enterprise")
    assert (verdict.outcome, verdict.detail) == (Outcome.FAIL, "enterprise; 2 scores are not finite")


def test_few_scores_that_are_not_finite_fail_too() -> None:
    labels = np.arange(20) % 4 == 0
    verdict = judge_auc("auc", labels, np.full(20, np.nan), threshold=0.8)
    assert (verdict.outcome, verdict.detail) == (Outcome.FAIL, "20 scores are not finite")


LABELS, SCORES = labels_and_scores(400)
UNUSABLE = {
    "labels as text": (LABELS.astype(str), SCORES, "auc: labels must be numbers, but their type is text (for example '1')"),
    "labels 1 and 2": (LABELS + 1, SCORES, "auc: labels must be 0 or 1, but 100 of 400 have other values, for example 2"),
    "labels -1 and 1": (2 * LABELS - 1, SCORES, "for example -1"),
    "labels with a gap": (np.where(LABELS == 1, np.nan, 0), SCORES, "for example nan"),
    "labels in two columns": (np.c_[1 - LABELS, LABELS], SCORES, "labels must have one dimension, not 2"),
    "both probabilities": (LABELS, np.c_[1 - SCORES, SCORES], "auc: scores must have one dimension, not 2"),
    "one column of probabilities": (LABELS, SCORES[:, None], "scores must have one dimension, not 2"),
    "scores as text": (LABELS, SCORES.astype(str), "auc: scores must be numbers, but their type is text"),
    "masked scores": (LABELS, np.ma.array(SCORES, mask=LABELS == 1), "auc: 100 scores are masked"),
    "fewer scores": (LABELS, SCORES[:-1], "auc: there are 399 scores for 400 labels"),
    "more scores": (LABELS, np.append(SCORES, 0.5), "auc: there are 401 scores for 400 labels"),
    "no scores": (LABELS, [], "auc: there are 0 scores for 400 labels"),
}


@pytest.mark.parametrize("rows", [400, 20], ids=["many rows", "few rows"])
@pytest.mark.parametrize("given", list(UNUSABLE))
def test_unusable_labels_and_scores_are_an_error(given: str, rows: int) -> None:
    labels, scores, reason = UNUSABLE[given]
    with pytest.raises(DataError, match=None if rows < 400 else re.escape(reason)) as refused:
        judge_auc("auc", labels[:rows], scores[: rows if len(scores) == 400 else len(scores)], threshold=0.8)
    assert refused.value.hint


@pytest.mark.parametrize("threshold", [math.nan, -0.1, 1.1, 80, "0.8", None, True, np.array([0.1, 0.2])])
def test_a_threshold_outside_of_0_and_1_is_an_error(threshold: object) -> None:
    with pytest.raises(DataError, match=r"threshold must be a number from 0 to 1"):
        judge_auc("auc", LABELS, SCORES, threshold=threshold)
    with pytest.raises(DataError, match=r"threshold must be a number from 0 to 1"):
        judge_share("effect", 90, 100, threshold=threshold)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_that_is_not_a_coverage_is_an_error(level: float) -> None:
    with pytest.raises(DataError, match="level must"):
        judge_auc("auc", LABELS[:20], SCORES[:20], threshold=0.8, level=level)


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


@pytest.mark.parametrize(
    ("hits", "trials", "ties"),
    [(8, 10, 3), (-1, 10, 0), (5.5, 10, 0), ("5", 10, 0), (True, 10, 0), (None, 10, 0), (5, math.nan, 0)],
)
def test_counts_that_are_no_counts_are_an_error(hits: object, trials: object, ties: object) -> None:
    with pytest.raises(DataError, match=r"effect: .*(do not fit|must be a whole number)"):
        judge_share("effect", hits, trials, threshold=0.5, ties=ties)


def test_an_inconclusive_share_says_how_many_rows_are_needed() -> None:
    verdict = judge_share("effect", 19, 20, threshold=0.9)
    assert (verdict.outcome, verdict.observed, verdict.interval) == (Outcome.INCONCLUSIVE, 0.95, None)
    assert verdict.detail == "20 rows; about 139 are needed"
    enough, fewer = (judge_share("effect", round(0.95 * rows), rows, threshold=0.9) for rows in (140, 120))
    assert (enough.unproven, fewer.unproven) == (False, True)
    assert judge_share("effect", 0, 0, threshold=0.9).detail == "0 rows; about 30 are needed"


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
    assert verdict.interval.method == "Clopper-Pearson"
    assert verdict.interval.low < 0.2 < verdict.interval.high
    assert judge_coverage("coverage", [], 0).outcome is Outcome.INCONCLUSIVE
    assert judge_coverage("coverage", [0.5], 0).outcome is Outcome.FAIL


@pytest.mark.parametrize("scores", [[[0.5], [0.5]], [[0.5, 0.5]], ["0.5", "0.5"], 0.5, np.ma.array([0.5, 0.5], mask=[0, 1])])
def test_coverage_of_anything_but_a_list_of_numbers_is_an_error(scores: object) -> None:
    with pytest.raises(DataError, match="coverage: "):
        judge_coverage("coverage", scores, 2)


@pytest.mark.parametrize("rows", ["ab", b"ab", 2.0, -2, None, True])
def test_coverage_of_a_number_of_rows_that_is_no_count_is_an_error(rows: object) -> None:
    with pytest.raises(DataError, match="coverage: rows must be a whole number"):
        judge_coverage("coverage", [0.5, 0.5], rows)


def test_the_probability_is_that_of_label_one() -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    model = LogisticRegression().fit(frame, (frame["x"] > 0).astype(int))
    scores = predict_probability(model, frame)
    assert scores.shape == (50,)
    assert scores[0] < 0.5 < scores[-1]


@pytest.mark.parametrize("classes", [(2, 3), ("0", "1"), ("no", "yes"), (0, 2)])
def test_a_model_without_label_one_is_an_error(classes: tuple[object, object]) -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    model = LogisticRegression().fit(frame, np.where(frame["x"] > 0, *classes))
    with pytest.raises(DataError, match=rf"classes \[{classes[0]!r}, {classes[1]!r}\]"):
        predict_probability(model, frame)


def test_a_model_whose_answers_do_not_fit_is_an_error() -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    with pytest.raises(DataError, match=r"shape \(49, 2\) for classes \[0, 1\]"):
        predict_probability(Answers(np.ones((49, 2)), classes=[0, 1], rows=49), frame)
    with pytest.raises(DataError, match=r"shape \(50, 1\) for classes \[0\]"):
        predict_probability(Answers(np.ones((50, 1)), classes=[0], rows=50), frame)
    with pytest.raises(DataError, match=r"the model returns no numbers"):
        predict_probability(Answers(np.full((50, 2), "0.5"), classes=[0, 1], rows=50), frame)


class Answers:
    """A model with fixed answers."""

    def __init__(self, answers: np.ndarray, *, classes: list[int], rows: int) -> None:
        self.classes_ = classes
        self.answers = np.resize(answers, (rows, answers.shape[1]))

    def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
        return self.answers
