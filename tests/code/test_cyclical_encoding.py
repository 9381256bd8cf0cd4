"""Layer 1: the cyclical encoding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.features import cyclical_encode

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=20)
HOURS = st.lists(st.integers(0, 23), min_size=1, max_size=50)
PERIODS = st.sampled_from([7, 12, 24, 365.25])


def encode(hours: list[object], period: float = 24) -> pd.DataFrame:
    return cyclical_encode(pd.Series(hours, name="usage_hour"), period)


def test_two_columns_named_after_the_series() -> None:
    """There are a sine and a cosine for each row, with the index of the series."""
    series = pd.Series([0, 6, 23], index=[10, 20, 30], name="usage_hour")
    encoded = cyclical_encode(series, 24)
    assert encoded.shape == (3, 2)
    assert list(encoded.columns) == ["usage_hour_sin", "usage_hour_cos"]
    assert list(encoded.index) == [10, 20, 30]


def test_quarters_of_the_day_are_quarters_of_the_circle() -> None:
    """Hours 0, 6, 12 and 18 are a quarter of the circle apart."""
    assert np.allclose(encode([0, 6, 12, 18]), [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-12)


def test_hour_24_is_hour_0() -> None:
    """Hour 24 has exactly the encoding of hour 0."""
    assert (encode([24]).to_numpy() == encode([0]).to_numpy()).all()


@PROPERTY
@given(hours=HOURS, turns=st.integers(-3, 3))
def test_whole_days_do_not_change_the_encoding(hours: list[int], turns: int) -> None:
    """Hours that are a whole number of days apart have exactly the same encoding."""
    assert np.array_equal(encode(hours), encode([hour + 24 * turns for hour in hours]))


@PROPERTY
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), period=PERIODS)
def test_every_value_lies_on_the_unit_circle(values: list[float], period: float) -> None:
    """Sine and cosine lie in [-1, 1], and their squares sum to 1."""
    encoded = encode(values, period).to_numpy()
    assert np.abs(encoded).max() <= 1.0
    assert np.allclose((encoded**2).sum(axis=1), 1.0)


@PROPERTY
@given(first=st.integers(0, 23), second=st.integers(0, 23))
def test_different_hours_have_different_encodings(first: int, second: int) -> None:
    """No two hours of a day have the same encoding."""
    same = np.allclose(encode([first]), encode([second]), atol=1e-9)
    assert same == (first == second)


def test_midnight_lies_next_to_one_o_clock() -> None:
    """23 h is as near to 0 h as 1 h is, and noon is farthest."""
    midnight, one, eleven, noon = encode([0, 1, 23, 12]).to_numpy()
    assert np.linalg.norm(midnight - eleven) == pytest.approx(np.linalg.norm(midnight - one))
    assert np.linalg.norm(midnight - noon) == pytest.approx(2.0)


def test_missing_stays_missing() -> None:
    """A missing hour has no encoding and does not change other rows."""
    encoded = encode([3, None, "nonsense"])
    assert encoded.iloc[0].notna().all()
    assert encoded.iloc[1:].isna().all(axis=None)


@pytest.mark.parametrize("period", [0, -24, float("nan"), float("inf")])
def test_a_period_must_be_positive(period: float) -> None:
    """The error for an invalid period names it."""
    with pytest.raises(ValueError, match="period must be a positive number"):
        encode([1], period)
