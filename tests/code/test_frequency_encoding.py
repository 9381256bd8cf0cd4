"""Layer 1: the frequency encoding."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.features import frequency_encode

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=20)
CATEGORIES = st.lists(st.sampled_from(["search", "referral", "email", "Ü", None]), min_size=1, max_size=80)


def column(values: list[str | None]) -> pd.Series:
    return pd.Series(values, name="acquisition_channel", dtype="str")


def test_one_column_named_after_the_series() -> None:
    """There is one number for each row, with the index of the series."""
    series = column(["search", "email"])
    series.index = pd.Index([5, 9])
    encoded = frequency_encode(series)
    assert encoded.name == "acquisition_channel_frequency"
    assert list(encoded.index) == [5, 9]
    assert encoded.dtype == np.float64


def test_known_shares_and_counts() -> None:
    """A category in two of four rows has the share 0.5 and the count 2."""
    values = column(["search", "search", "email", None])
    assert frequency_encode(values).tolist() == [0.5, 0.5, 0.25, 0.25]
    assert frequency_encode(values, normalize=False).tolist() == [2.0, 2.0, 1.0, 1.0]


@PROPERTY
@given(values=CATEGORIES)
def test_shares_sum_to_one(values: list[str | None]) -> None:
    """The shares of all categories, including the missing one, sum to 1."""
    encoded = frequency_encode(column(values))
    assert encoded.groupby(pd.Series([str(value) for value in values])).first().sum() == pytest.approx(1.0)


@PROPERTY
@given(values=CATEGORIES)
def test_counts_sum_to_the_rows(values: list[str | None]) -> None:
    """The counts of all categories sum to the number of rows."""
    encoded = frequency_encode(column(values), normalize=False)
    assert encoded.groupby(pd.Series([str(value) for value in values])).first().sum() == len(values)


@PROPERTY
@given(values=CATEGORIES)
def test_each_row_has_the_share_of_its_category(values: list[str | None]) -> None:
    """There is no NaN, not even for missing categories, and each row has the share of its category."""
    encoded = frequency_encode(column(values))
    counts = Counter(values)
    assert encoded.notna().all()
    assert encoded.tolist() == [counts[value] / len(values) for value in values]


@PROPERTY
@given(values=CATEGORIES, seed=st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(values: list[str | None], seed: int) -> None:
    """Shuffled rows get the same numbers."""
    order = np.random.default_rng(seed).permutation(len(values))
    series = column(values)
    assert frequency_encode(series.iloc[order]).tolist() == frequency_encode(series).iloc[order].tolist()
