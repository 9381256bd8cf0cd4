"""Layer 1: days since a reference date."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.features import compute_days_since_reference

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=20)
DATES = st.dates(date(1990, 1, 1), date(2090, 12, 31))


def days(values: list[object], reference: object = "2026-03-01") -> list[float]:
    return compute_days_since_reference(pd.Series(values, name="signup_date"), reference).tolist()


def test_one_column_named_after_the_series() -> None:
    """There is one number for each row, with the index of the series."""
    found = compute_days_since_reference(pd.Series(["2026-03-02"], index=[7], name="signup_date"), "2026-03-01")
    assert found.name == "signup_date_days"
    assert found.dtype == np.float64
    assert found.to_dict() == {7: 1.0}


def test_known_distances() -> None:
    """The reference is day 0, leap days count, and earlier dates are negative."""
    assert days(["2026-03-01", "2026-03-31", "2026-02-28"]) == [0.0, 30.0, -1.0]
    assert days(["2024-03-01"], "2024-02-28") == [2.0]


@PROPERTY
@given(origin=DATES, distance=st.integers(-5000, 5000))
def test_the_result_is_the_distance_in_days(origin: date, distance: int) -> None:
    """The result is the distance in days, for any reference."""
    assert days([(origin + timedelta(days=distance)).isoformat()], origin.isoformat()) == [float(distance)]


@PROPERTY
@given(first=DATES, second=DATES)
def test_swapping_date_and_reference_changes_the_sign(first: date, second: date) -> None:
    """Swapping the date and the reference changes only the sign."""
    assert days([first.isoformat()], second.isoformat()) == [-days([second.isoformat()], first.isoformat())[0]]


def test_missing_dates_stay_missing() -> None:
    """A missing date has no distance and does not change other rows."""
    found = days(["2026-03-02", None, "2026-03-03"])
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert found[2] == 2.0


def test_a_reference_must_be_a_date() -> None:
    """A reference that is not a date is an error."""
    with pytest.raises(ValueError, match="soon"):
        days(["2026-03-01"], "soon")
