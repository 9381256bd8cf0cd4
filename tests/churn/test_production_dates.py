"""Dates as production sends them: dates from the warehouse, and timestamps with a time zone from the mobile app.

These tests are not in `tests/code`, because in the third act of the story the project's test layers do not cover the app.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.features import DaysEncoder, compute_days_since_reference, read_days

PROPERTY = settings(deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("sent", "day"),
    [
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T09:30:00+02:00", "2026-03-01"),
        ("2026-03-01T00:30:00+02:00", "2026-02-28"),
        ("2026-03-01T23:30:00-05:00", "2026-03-02"),
        ("2026-03-01T09:30:00Z", "2026-03-01"),
        ("2026-03-01 09:30:00.123456", "2026-03-01"),
        ("20260301", "2026-03-01"),
    ],
)
def test_iso_dates_and_timestamps_are_read(sent: str, day: str) -> None:
    assert compute_days_since_reference(pd.Series([sent], name="d"), day).tolist() == [0.0]


@pytest.mark.parametrize(
    "sent", [None, "", "yesterday", "2026-13-01", "01.03.2026", 20260301, 1.5, True, pd.NaT, "0001-01-01T00:00:00+05:00"]
)
def test_anything_else_is_missing(sent: object) -> None:
    assert np.isnan(read_days(pd.Series([sent], dtype=object))).all()


def test_pandas_dates_are_read() -> None:
    moments = pd.Series(pd.to_datetime(["2026-03-01", None]), name="d")
    assert compute_days_since_reference(moments, pd.Timestamp("2026-02-28")).tolist()[0] == 1.0


@PROPERTY
@given(moment=st.datetimes(timezones=st.timezones()))
def test_a_moment_with_a_time_zone_is_at_most_one_day_off(moment: object) -> None:
    """The day in UTC is the local day, the day before or the day after. At the ends of the calendar it may be missing."""
    found = read_days(pd.Series([moment.isoformat()]))[0]  # type: ignore[attr-defined]
    local = moment.toordinal() - 719_163  # type: ignore[attr-defined]
    assert np.isnan(found) or abs(found - local) <= 1


@PROPERTY
@given(values=st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)), min_size=1))
def test_the_encoder_accepts_any_value(values: list[object]) -> None:
    fitted = DaysEncoder("column").fit(pd.DataFrame({"column": ["2026-03-01"]}))
    assert fitted.transform(pd.DataFrame({"column": pd.Series(values, dtype=object)})).shape == (len(values), 1)
