"""The drift of a snapshot from the one that the champion was trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sluice.checks.drift import compare_frames
from sluice.errors import DataError

RULE = {"threshold": 0.2, "alpha": 0.01, "least_rows": 500}


def frame(rows: int, *, shift: float = 0.0, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "spend": random.normal(100 * (1 + shift), 100, rows),
            "contract": random.choice(["monthly", "annual"], rows),
            "is_enterprise": random.random(rows) < 0.08,
            "signed_up": pd.date_range("2026-01-01", periods=rows, freq="min"),
            "name": [f"customer {number}" for number in range(rows)],
            "empty": [None] * rows,
        }
    )


def test_the_same_distributions_have_not_drifted() -> None:
    result = compare_frames(frame(5_000), frame(5_000, seed=2), **RULE)
    assert result.drifted == []
    assert result.detail == "none of 3 features has drifted"
    assert set(result.features) == {"spend", "contract", "is_enterprise"}


def test_columns_that_cannot_be_compared_are_left_out_with_the_reason() -> None:
    result = compare_frames(frame(5_000), frame(5_000, seed=2), **RULE)
    assert result.left_out == {"signed_up": "a date", "name": "5,000 different values", "empty": "empty in the reference"}


def test_a_shifted_feature_is_named() -> None:
    result = compare_frames(frame(5_000), frame(5_000, shift=0.8, seed=2), **RULE)
    assert result.drifted == ["spend"]
    assert result.detail.startswith("drifted: spend (PSI 0.")
    assert result.to_dict()["drifted"] == ["spend"]


def test_a_new_frequent_category_is_drift() -> None:
    now = frame(5_000, seed=2)
    now.loc[: len(now) // 2, "contract"] = "multi-year"
    assert compare_frames(frame(5_000), now, **RULE).drifted == ["contract"]


def test_new_missing_values_are_drift() -> None:
    now = frame(5_000, seed=2)
    now.loc[: len(now) // 2, "spend"] = np.nan
    assert compare_frames(frame(5_000), now, **RULE).drifted == ["spend"]


def test_with_few_rows_the_result_is_inconclusive() -> None:
    result = compare_frames(frame(5_000), frame(200, shift=2.0, seed=2), **RULE)
    assert result.drifted == []
    assert result.detail == "too few rows to decide whether a feature has drifted"


def test_only_the_named_columns_are_compared() -> None:
    result = compare_frames(frame(5_000), frame(5_000, shift=0.8, seed=2), columns=["contract"], **RULE)
    assert list(result.features) == ["contract"]
    assert result.drifted == []


def test_the_error_for_a_missing_or_unusable_column_names_it() -> None:
    with pytest.raises(DataError, match="current snapshot has no column 'spend'"):
        compare_frames(frame(1_000), frame(1_000).drop(columns="spend"), **RULE)
    with pytest.raises(DataError, match="no column can be compared"):
        compare_frames(frame(1_000)[["name"]], frame(1_000)[["name"]], **RULE)
    with pytest.raises(DataError, match="column 'spend' cannot be compared"):
        compare_frames(frame(1_000), frame(1_000).assign(spend=["a"] * 1_000), **RULE)
