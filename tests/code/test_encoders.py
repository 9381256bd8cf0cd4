"""Layer 1: what the encoders learn, and how they encode rows that they have not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from churn.features import (
    CategoryEncoder,
    CyclicalEncoder,
    DaysEncoder,
    FeatureEncoder,
    FlagEncoder,
    FrequencyEncoder,
    NumberEncoder,
)

if TYPE_CHECKING:
    from churn.features import ColumnEncoder

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=20)

ENCODERS = [
    NumberEncoder("column"),
    NumberEncoder("column", logarithm=True),
    FlagEncoder("column"),
    CategoryEncoder("column"),
    CyclicalEncoder("column", period=24),
    FrequencyEncoder("column"),
]
JSON_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))


def frame(values: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"column": pd.Series(values, dtype=object)})


def encode(encoder: ColumnEncoder, learned: list[object], asked: list[object]) -> np.ndarray:
    return clone(encoder).fit(frame(learned)).transform(frame(asked))


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_each_row_is_encoded_as_one_row_of_floats(encoder: ColumnEncoder) -> None:
    """The result has as many rows as the input, and as many columns as there are names."""
    fitted = clone(encoder).fit(frame(["1", "0", None]))
    encoded = fitted.transform(frame(["0", None, "new", "1"]))
    assert encoded.shape == (4, len(fitted.get_feature_names_out()))
    assert encoded.dtype == np.float64


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
@PROPERTY
@given(values=st.lists(JSON_VALUES, min_size=1, max_size=8))
def test_any_json_value_is_encoded(encoder: ColumnEncoder, values: list[object]) -> None:
    """Every value that a client may send becomes a finite number or is missing."""
    encoded = encode(encoder, [1, 0, None], values)
    assert encoded.shape[0] == len(values)
    assert not np.isinf(encoded).any()


@PROPERTY
@given(values=st.lists(JSON_VALUES, min_size=2, max_size=8))
def test_the_encoding_of_a_row_does_not_depend_on_its_batch(values: list[object]) -> None:
    """The other rows of the batch do not matter."""
    union = FeatureEncoder(ENCODERS).fit(frame([1, 0, None]))
    alone = np.vstack([union.transform(frame([value])) for value in values])
    assert np.array_equal(union.transform(frame(values)), alone, equal_nan=True)


def test_the_number_encoder_accepts_numbers_as_text() -> None:
    """JSON contains 12, and a form contains "12". A text that is not a number is missing."""
    encoded = encode(NumberEncoder("column"), [1], [12, "12", 12.0, "twelve", None, True, float("inf"), 10**400])
    assert encoded[:3, 0].tolist() == [12.0, 12.0, 12.0]
    assert np.isnan(encoded[3:]).all()


def test_amounts_have_a_logarithmic_scale() -> None:
    """The encoding is log(1 + amount). A negative amount counts as 0."""
    encoded = encode(NumberEncoder("column", logarithm=True), [1], [0, np.e - 1, -5])
    assert encoded[:, 0] == pytest.approx([0.0, 1.0, 0.0])


def test_flags_may_have_several_spellings() -> None:
    """True, "true", 1 and "1" mean the same."""
    encoded = encode(FlagEncoder("column"), [True], [True, "true", 1, "True", False, "false", 0, "maybe", None])
    assert encoded[:7, 0].tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert np.isnan(encoded[7:]).all()


def test_an_unseen_category_is_zero_in_all_columns() -> None:
    """There is one column for each category of the training data. For any other category, all are 0."""
    fitted = CategoryEncoder("column").fit(frame(["monthly", "annual", None]))
    assert list(fitted.get_feature_names_out()) == ["column_annual", "column_monthly"]
    assert fitted.transform(frame(["annual", "weekly", None])).tolist() == [[1, 0], [0, 0], [0, 0]]


def test_an_unseen_category_has_the_share_zero() -> None:
    """The share is that of the training data, for any batch."""
    encoded = encode(FrequencyEncoder("column"), ["a", "a", "b", None], ["b", "b", "b", "a", "new", None])
    assert encoded[:, 0].tolist() == [0.25, 0.25, 0.25, 0.5, 0.0, 0.25]


def test_a_missing_hour_is_the_centre_of_the_circle() -> None:
    """The centre is equally far from every hour, so that no hour is invented."""
    assert encode(CyclicalEncoder("column", period=24), [1], [None, 6]) == pytest.approx(np.array([[0, 0], [1, 0]]))


def test_the_reference_date_is_the_latest_that_was_learned() -> None:
    """The distance of a row does not depend on its batch."""
    encoded = encode(DaysEncoder("column"), ["2026-01-01", "2026-03-01", None], ["2026-03-01", "2026-02-28", None, "2026-03-05"])
    assert encoded[[0, 1, 3], 0].tolist() == [0.0, -1.0, 4.0]
    assert np.isnan(encoded[2, 0])


def test_a_column_without_dates_cannot_be_learned() -> None:
    """The error for a column without any date names the column."""
    with pytest.raises(ValueError, match="'column' has no date"):
        DaysEncoder("column").fit(frame([None, None]))


def test_a_missing_column_is_named() -> None:
    """The error for rows without the column lists the columns that they have."""
    fitted = NumberEncoder("column").fit(frame([1]))
    with pytest.raises(ValueError, match="'column' is missing; the rows have other"):
        fitted.transform(pd.DataFrame({"other": [1]}))


def test_rows_must_have_column_names() -> None:
    """An array has no column names."""
    with pytest.raises(ValueError, match="DataFrame with named columns"):
        NumberEncoder("column").fit(np.zeros((2, 1)))


def test_fitting_leaves_the_given_encoders_unfitted() -> None:
    """A clone of a fitted encoder learns again."""
    given_encoder = FrequencyEncoder("column")
    FeatureEncoder([given_encoder]).fit(frame(["a"]))
    assert not hasattr(given_encoder, "shares_")
