"""A feature that contains the outcome is found in every form, and a strong honest feature is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluice.data.labelled_rows import LabelledRows
from sluice.leaks.single_features import find_separating_features


def make_rows(features: dict[str, Any], labels: Any) -> LabelledRows:
    frame = pd.DataFrame(features)
    return LabelledRows(frame, frame, np.asarray(labels, dtype=np.int8), np.arange(len(frame)).astype(object))


def make_labels(rows: int, seed: int, share: float = 0.2) -> Any:
    return (np.random.default_rng(seed).random(rows) < share).astype(np.int8)


def make_sides(form: str) -> tuple[LabelledRows, LabelledRows]:
    """Make training rows and test rows with an honest feature and a feature that contains the outcome in some form."""
    sides = []
    for seed, rows in ((1, 3000), (2, 2000)):
        labels, generator = make_labels(rows, seed), np.random.default_rng(seed + 10)
        noise = generator.normal(size=rows)
        forms: dict[str, Any] = {
            "number": noise + 8 * labels,
            "falling number": noise - 8 * labels,
            "distance from zero": np.where(labels == 1, 1, 5) * np.where(generator.random(rows) < 0.5, 1, -1) + noise / 10,
            "boolean": labels.astype(bool),
            "text": np.where(labels == 1, "gone", "here"),
            "missing text": np.where(labels == 1, "2024-01-01", None),
            "missing number": np.where(labels == 1, np.nan, noise),
            "category": pd.Categorical(np.where(labels == 1, "x", generator.choice(["a", "b"], rows))),
            "time": pd.Series(np.where(labels == 1, "2024-01-01", "2023-01-01")).astype("datetime64[s]"),
            "later second": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(generator.integers(0, 10**7, rows) + 10**7 * labels.astype(np.int64), "s"),
            "number as text": [f" {value:.6f}" for value in noise + 8 * labels],
            "decimal": [Decimal(f"{value:.6f}") for value in noise - 8 * labels],
            "duration": pd.to_timedelta(generator.integers(0, 10**7, rows) + 10**7 * labels.astype(np.int64), "s"),
            "number as a category": pd.Categorical([f"{value:.6f}" for value in noise + 8 * labels]),
        }
        forms["later second as text"] = forms["later second"].astype(str)
        forms["later second of a zone"] = forms["later second"].tz_localize("Europe/Berlin", nonexistent="shift_forward")
        forms["later second with gaps"] = pd.Series(forms["later second"]).where(generator.random(rows) < 0.999).astype(object)
        sides.append(make_rows({"honest": noise + labels, "leak": forms[form]}, labels))
    return sides[0], sides[1]


@pytest.mark.parametrize(
    "form",
    [
        "number",
        "falling number",
        "distance from zero",
        "boolean",
        "text",
        "missing text",
        "missing number",
        "category",
        "time",
        "later second",
        "later second as text",
        "later second of a zone",
        "later second with gaps",
        "number as text",
        "decimal",
        "duration",
        "number as a category",
    ],
)
def test_a_feature_that_contains_the_outcome_is_named(form: str) -> None:
    found = find_separating_features(*make_sides(form))
    assert [feature.name for feature in found] == ["leak"]
    assert "the feature 'leak' alone separates the classes almost perfectly" in found[0].warn().text
    assert "remove it from the features" in found[0].warn().hint


def test_a_rare_outcome_is_found_too() -> None:
    sides = []
    for seed in (1, 2):
        labels = make_labels(60_000, seed, share=0.003)
        sides.append(make_rows({"leak": np.random.default_rng(seed).normal(size=60_000) + 9 * labels}, labels))
    assert find_separating_features(sides[0], sides[1])


def test_an_honest_feature_with_an_auc_of_096_is_not_named() -> None:
    sides = []
    for seed in (1, 2):
        labels = make_labels(4000, seed)
        sides.append(make_rows({"strong": np.random.default_rng(seed).normal(size=4000) + 2.5 * labels}, labels))
    assert not find_separating_features(sides[0], sides[1])


def test_a_text_that_is_different_in_every_row_is_not_named() -> None:
    """It separates the training rows perfectly, because each value occurs once, but it says nothing about the test rows."""
    sides = [make_rows({"name": [f"{seed}-{row}" for row in range(500)]}, make_labels(500, seed, 0.5)) for seed in (1, 2)]
    assert not find_separating_features(sides[0], sides[1])


def test_honest_times_and_texts_of_all_kinds_are_not_named() -> None:
    sides = []
    for seed in (1, 2):
        labels, generator = make_labels(4000, seed), np.random.default_rng(seed)
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(
            generator.integers(0, 10**7, 4000) + 10**6 * labels.astype(np.int64), "s"
        )
        texts = [f"{value:.3f}" for value in generator.normal(size=4000) + labels]
        empty = pd.Series([None] * 4000, dtype=object)
        sides.append(make_rows({"time": times, "text": times.astype(str), "number": texts, "empty": empty}, labels))
    assert not find_separating_features(sides[0], sides[1])


def test_a_leak_in_the_training_data_only_is_not_named() -> None:
    training, test = make_sides("text")
    assert not find_separating_features(training, make_rows({"leak": ["here"] * len(test), "honest": 1.0}, test.labels))


def test_a_few_test_rows_are_not_enough_for_a_warning() -> None:
    training, test = make_sides("boolean")
    assert not find_separating_features(training, test.take(np.arange(40)))


def test_rows_of_one_class_give_no_warning() -> None:
    training, test = make_sides("boolean")
    assert not find_separating_features(training, test.take(test.labels == 0))
