"""A row keeps its content's hash when it is written in another format, and another value changes it."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluice.data.row_contents import CHUNK_ROWS, hash_rows


def hash_one(values: Any, **options: Any) -> list[int]:
    return hash_rows(pd.DataFrame({"x": pd.Series(values, **options)}), ["x"]).tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series([1, 2, 3]), pd.Series([1.0, 2.0, 3.0])),
        (pd.Series([1, 2, 3]), pd.Series([1, 2, 3], dtype="UInt8")),
        (pd.Series([True, False]), pd.Series([1, 0])),
        (pd.Series([True, None], dtype="boolean"), pd.Series(["True", None], dtype=object)),
        (pd.Series([0.1, 2.5]), pd.Series([Decimal("0.1"), Decimal("2.5")])),
        (pd.Series([0.1, 123456.789]), pd.Series([0.1, 123456.789], dtype="float32")),
        (pd.Series([0.0]), pd.Series([-0.0])),
        (pd.Series([12, 7]), pd.Series(["12", "7"])),
        (pd.Series([12, 7]), pd.Series(["12", 7.0], dtype=object)),
        (pd.Series([5, None], dtype="Int64"), pd.Series([5.0, np.nan])),
        (pd.Series(["a", None]), pd.Series(["a", ""])),
        (pd.Series(["a", "b"]), pd.Series(["a ", "b"], dtype="category")),
        (pd.Series(["a", "b"]), pd.Series([b"a", b"b"])),
        (pd.Series([None, np.nan, pd.NA, pd.NaT, ""], dtype=object), pd.Series([np.nan] * 5)),
        (pd.to_datetime(pd.Series(["2024-01-02"])), pd.Series([dt.date(2024, 1, 2)])),
        (pd.to_datetime(pd.Series(["2024-01-02 03:04:05"])), pd.Series([dt.datetime(2024, 1, 2, 3, 4, 5)])),  # noqa: DTZ001
        (pd.to_datetime(pd.Series(["2024-01-02 03:04:05.5"])), pd.Series(["2024-01-02T03:04:05.500000Z"])),
        (
            pd.Series([pd.Timestamp("2024-01-02 03:04", tz="Europe/Berlin")]),
            pd.Series([pd.Timestamp("2024-01-02 02:04", tz="UTC")]),
        ),
        (pd.Series([[1, 2], None]), pd.Series(["[1, 2]", None])),
    ],
)
def test_equal_values_of_different_types_have_the_same_hash(one: pd.Series[Any], other: pd.Series[Any]) -> None:
    assert hash_one(one) == hash_one(other)


def test_different_values_have_different_hashes() -> None:
    values = [None, 0, 1, 2, 0.5, 0.50001, "a", "A", "ab", "2024-01-01", "2024-01-02", "007a", dt.date(2024, 3, 1), "[1]"]
    assert len(set(hash_one(values, dtype=object))) == len(values)
    assert len(set(hash_one(np.arange(2**40, 2**40 + 1000)))) == 1000
    assert len(set(hash_one(np.random.default_rng(1).normal(size=200_000)))) == pytest.approx(200_000, rel=0.01)


def test_the_order_of_the_columns_does_not_matter_but_their_names_do() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [2, 1]})
    assert hash_rows(frame, ["a", "b"]).tolist() == hash_rows(frame[["b", "a"]], ["b", "a"]).tolist()
    assert hash_rows(frame, ["a", "b"])[0] != hash_rows(frame, ["a", "b"])[1]


def test_a_file_that_was_written_as_csv_has_the_same_contents() -> None:
    generator = np.random.default_rng(3)
    rows = CHUNK_ROWS + 1000
    frame = pd.DataFrame(
        {
            "amount": generator.normal(size=rows),
            "visits": np.where(generator.random(rows) < 0.1, np.nan, generator.integers(0, 9, rows)),
            "active": generator.random(rows) < 0.5,
            "plan": pd.Series(generator.choice(["free", "paid", None], rows), dtype="category"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 10**8, rows), unit="s"),
        }
    )
    copy = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    names = list(frame.columns)
    assert (copy.dtypes != frame.dtypes).sum() >= 2
    assert hash_rows(frame, names).tolist() == hash_rows(copy[names[::-1]], names).tolist()
