"""Invariance, direction, named examples, and stability against the champion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sluice.checks.judgements import (
    Example,
    judge_direction,
    judge_examples,
    judge_invariance,
    judge_stability,
)
from sluice.errors import DataError
from sluice.verdicts import Outcome


def make_rows(count: int = 600) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": random.normal(40, 10, count),
            "plan": random.choice(["monthly", "annual"], count),
            "city": random.choice(["Oslo", "Turku", None], count),
        }
    )


ROWS = make_rows()


def fit(*columns: str) -> Any:
    """Fit a model that uses only these columns. Annual plans and age lower the probability."""
    random = np.random.default_rng(4)
    odds = 2.0 - 0.05 * ROWS["age"] - 2.0 * (ROWS["plan"] == "annual") + 0.5 * (ROWS["city"] == "Oslo")
    labels = (random.random(len(ROWS)) < 1 / (1 + np.exp(-odds))).astype(int)
    texts = [column for column in columns if column != "age"]
    steps = [(OneHotEncoder(handle_unknown="ignore"), texts)] + ([("passthrough", ["age"])] if "age" in columns else [])
    return make_pipeline(make_column_transformer(*steps), LogisticRegression(max_iter=1000)).fit(ROWS, labels)


MODEL = fit("age", "plan")


class Broken:
    """A model that answers NaN."""

    classes_ = (0, 1)

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        return np.full((len(rows), 2), np.nan)


def test_a_change_that_the_model_ignores_leaves_the_probability_as_it_is() -> None:
    verdict = judge_invariance("city", MODEL, ROWS, {"city": "Turku"})
    in_turku = int((ROWS["city"] == "Turku").sum())
    assert (verdict.outcome, verdict.unproven, verdict.observed) == (Outcome.PASS, False, 1.0)
    assert verdict.interval.method == "Wilson"
    assert verdict.rows == len(ROWS) - in_turku
    assert verdict.detail == f"the largest move is 0; left out: {in_turku} unaltered"


def test_a_change_that_the_model_uses_breaks_the_invariance() -> None:
    verdict = judge_invariance("city", fit("age", "city"), ROWS, {"city": "Turku"})
    assert (verdict.outcome, verdict.observed) == (Outcome.FAIL, 0.0)


def test_rows_that_the_change_does_not_alter_do_not_count() -> None:
    """Otherwise rare values would pass every test."""
    rows = ROWS.assign(city=np.where(np.arange(len(ROWS)) < 40, "Oslo", "Turku"))
    verdict = judge_invariance("city", fit("age", "city"), rows, {"city": "Turku"})
    assert (verdict.outcome, verdict.rows) == (Outcome.FAIL, 40)


def test_a_small_move_is_tolerated() -> None:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(age=rows["age"] + 0.1)

    assert judge_invariance("age", MODEL, ROWS, change).outcome is Outcome.FAIL
    verdict = judge_invariance("age", MODEL, ROWS, change, tolerance=0.01)
    assert verdict.outcome is Outcome.PASS
    assert "the largest move is 0.0009" in verdict.detail


def test_the_probability_moves_in_the_expected_direction() -> None:
    verdict = judge_direction("plan", MODEL, ROWS, {"plan": "annual"}, expect="lower")
    assert (verdict.outcome, verdict.observed, verdict.unproven) == (Outcome.PASS, 1.0, False)
    assert judge_direction("plan", MODEL, ROWS, {"plan": "annual"}, expect="higher").outcome is Outcome.FAIL
    grown = judge_direction("age", MODEL, ROWS, {"age": lambda age: age + 5}, expect="lower")
    assert (grown.outcome, grown.rows) == (Outcome.PASS, len(ROWS))


def test_a_model_that_ignores_the_column_has_ties_and_fails() -> None:
    verdict = judge_direction("plan", fit("age", "city"), ROWS, {"plan": "annual"}, expect="lower")
    monthly = int((ROWS["plan"] == "monthly").sum())
    assert (verdict.outcome, verdict.observed) == (Outcome.FAIL, 0.0)
    assert f"{monthly} ties" in verdict.detail


@pytest.mark.parametrize("judge", [judge_invariance, lambda *args: judge_direction(*args, expect="lower")])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.sort_values("age"),
        lambda rows: rows[::-1],
        lambda rows: rows.sample(frac=1, random_state=1),
        lambda rows: pd.concat([rows[rows["plan"] == "annual"].assign(plan="monthly"), rows[rows["plan"] != "annual"]]),
        lambda rows: rows.set_axis(range(7, 7 + len(rows))),
    ],
)
def test_a_change_that_reorders_rows_is_refused(judge: Any, change: Any) -> None:
    """Each row would be compared with another one, so a model that ignores the change would fail."""
    with pytest.raises(DataError, match="city: the change returns rows in another order or with another index"):
        judge("city", MODEL, ROWS, change)


def test_rows_with_an_index_of_their_own_can_be_changed() -> None:
    rows = ROWS.set_axis(range(1000, 1000 + len(ROWS)))[::-1]
    for change in ({"city": "Turku"}, lambda rows: rows.assign(city="Turku")):
        assert judge_invariance("city", MODEL, rows, change, threshold=0.5, least_rows=1).outcome is not Outcome.INCONCLUSIVE


def raise_error(rows: Any) -> Any:
    raise AttributeError("no such attribute")


@pytest.mark.parametrize(
    ("change", "within", "what"),
    [
        (raise_error, None, "the change raises an error"),
        ({"city": raise_error}, None, "the change raises an error"),
        (lambda rows: rows.drop(columns="absent"), None, "the change raises an error"),
        ({"city": "Turku"}, raise_error, r"the contract \(within\) raises an error"),
        ({"city": "Turku"}, lambda rows: rows["absent"] > 1, r"the contract \(within\) raises an error"),
    ],
)
def test_an_error_of_a_change_or_of_the_contract_names_the_check(change: Any, within: Any, what: str) -> None:
    with pytest.raises(DataError, match=f"city: {what}: ") as caught:
        judge_invariance("city", MODEL, ROWS, change, within=within)
    assert caught.value.hint.startswith("Correct the function")


def test_rows_that_cannot_occur_are_left_out() -> None:
    verdict = judge_direction(
        "age", MODEL, ROWS, {"age": lambda age: age + 20}, expect="lower", within=lambda rows: rows["age"].between(18, 60)
    )
    fitting = int((ROWS["age"].between(18, 60) & (ROWS["age"] + 20).between(18, 60)).sum())
    assert verdict.rows == fitting
    assert verdict.detail == f"left out: {len(ROWS) - fitting} outside of the contract"


def test_few_rows_are_inconclusive() -> None:
    verdict = judge_direction("plan", MODEL, ROWS.head(30), {"plan": "annual"}, expect="lower")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "are needed" in verdict.detail
    none = judge_invariance("plan", MODEL, ROWS, {"plan": "annual"}, within=lambda rows: rows["age"] > 1000)
    assert (none.outcome, none.rows) == (Outcome.INCONCLUSIVE, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"planet": "Mars"}, "no column 'planet'"),
        ({}, "names no column"),
        ({"plan": lambda plan: plan}, "alters none of the 600 rows"),
        (lambda rows: rows.head(3), "returns 3 rows"),
        (lambda rows: rows.drop(columns="age"), "with the columns plan, city"),
        (lambda rows: rows["age"], "returns a Series and no DataFrame"),
    ],
)
def test_a_change_that_cannot_be_used_is_an_error(change: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        judge_invariance("plan", MODEL, ROWS, change)
    with pytest.raises(DataError, match=reason):
        judge_direction("plan", MODEL, ROWS, change, expect="lower")


def test_other_arguments_that_cannot_be_used_are_an_error() -> None:
    with pytest.raises(DataError, match="expect must be"):
        judge_direction("plan", MODEL, ROWS, {"plan": "annual"}, expect="down")
    with pytest.raises(DataError, match="the contract returns values of type int64"):
        judge_invariance("plan", MODEL, ROWS, {"plan": "annual"}, within=lambda rows: np.ones(len(rows), dtype=int))
    with pytest.raises(DataError, match="a share cannot be greater than 1"):
        judge_invariance("city", MODEL, ROWS, {"city": "Turku"}, threshold=1)
    with pytest.raises(DataError, match="tolerance must be a number from 0 to 1"):
        judge_stability("stable", MODEL, MODEL, ROWS, tolerance=np.nan)


def test_probabilities_that_are_not_finite_fail() -> None:
    found = [
        judge_invariance("a", Broken(), ROWS, {"city": "Turku"}),
        judge_direction("a", Broken(), ROWS, {"plan": "annual"}, expect="lower"),
        judge_stability("a", Broken(), MODEL, ROWS),
        judge_examples("a", Broken(), ROWS, {"any": Example({"age": 40}, high=0.9)}),
    ]
    assert all(verdict.failed for verdict in found)
    assert found[2].detail == "600 scores are not finite"


def test_the_change_does_not_alter_the_given_rows() -> None:
    before = ROWS.copy(deep=True)
    judge_invariance("city", MODEL, ROWS, {"city": "Turku"})
    pd.testing.assert_frame_equal(ROWS, before)


def test_named_examples_are_answered_within_their_bounds() -> None:
    examples = {
        "young and monthly": Example({"age": 20, "plan": "monthly", "city": "Oslo"}, low=0.5),
        "old and annual": Example({"age": 70, "plan": "annual"}, high=0.2),
    }
    verdict = judge_examples("known", MODEL, ROWS, examples)
    assert (verdict.outcome, verdict.observed, verdict.rows) == (Outcome.PASS, 1.0, 2)
    assert verdict.interval.method == "Clopper-Pearson"
    assert verdict.interval.low == pytest.approx(0.158, abs=0.001)
    examples["the other way round"] = Example({"age": 20, "plan": "monthly"}, high=0.1)
    wrong = judge_examples("known", MODEL, ROWS, examples)
    assert (wrong.outcome, wrong.observed) == (Outcome.FAIL, pytest.approx(2 / 3))
    assert wrong.detail.startswith("the other way round: 0.")
    assert wrong.detail.endswith("is not in 0 to 0.1")


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (Example({"planet": "Mars"}, high=0.5), "takes no column 'planet'"),
        (Example({"age": 40}), "can be told from a wrong one"),
        (Example({"age": 40}, low=0.6, high=0.5), "low is above high"),
        (Example({"age": 40}, high=5), "high must be a number from 0 to 1"),
        (Example({"age": "old"}, high=0.5), "'age' cannot be read as float64"),
    ],
)
def test_an_example_that_cannot_be_used_is_an_error(example: Example, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        judge_examples("known", MODEL, ROWS, {"one": example})


def test_no_example_is_an_error() -> None:
    with pytest.raises(DataError, match="there is no example"):
        judge_examples("known", MODEL, ROWS, {})


def test_a_model_that_answers_like_the_champion_is_stable() -> None:
    verdict = judge_stability("stable", MODEL, MODEL, ROWS)
    assert (verdict.outcome, verdict.observed, verdict.unproven) == (Outcome.PASS, 1.0, False)
    assert verdict.detail == "the mean difference is 0"
    changed = judge_stability("stable", fit("age", "city"), MODEL, ROWS)
    assert changed.outcome is Outcome.FAIL
    assert judge_stability("stable", fit("age", "city"), MODEL, ROWS, tolerance=0.6).outcome is Outcome.PASS


def test_without_a_champion_stability_is_unproven() -> None:
    verdict = judge_stability("stable", MODEL, None, ROWS)
    assert (verdict.outcome, verdict.unproven) == (Outcome.PASS, True)
    assert "there is no champion yet" in verdict.detail


@pytest.mark.parametrize(
    "change", [lambda ages: ages[ages > 40], lambda ages: ages.sample(frac=1, random_state=1), lambda _: pd.Series([50.0] * 10)]
)
def test_a_change_with_other_values_than_rows_is_an_error(change: Any) -> None:
    with pytest.raises(DataError, match="values for 600 rows, or another index"):
        judge_direction("age", MODEL, ROWS, {"age": change}, expect="lower")


def test_a_model_that_needs_another_column_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"the model cannot predict these rows: .*plan"):
        judge_invariance("city", MODEL, ROWS.drop(columns="plan"), {"city": "Turku"})


def test_a_champion_that_needs_a_removed_feature_cannot_be_compared() -> None:
    verdict = judge_stability("stable", fit("age"), MODEL, ROWS.drop(columns="plan"), tolerance=0.1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "the champion cannot predict these rows" in verdict.detail


def test_an_example_of_another_type_is_an_error() -> None:
    with pytest.raises(DataError, match="an example must be an Example, not dict"):
        judge_examples("examples", MODEL, ROWS, {"old": {"age": 80}})  # type: ignore[dict-item]
