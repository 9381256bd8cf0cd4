from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.errors import DataError
from sluice.release.feature_columns import Cell, Column, frame_to_rows, read_columns, rows_to_frame

FRAME = pd.DataFrame(
    {
        "whole": [1, -2, 3],
        "small": np.array([1, 2, 3], dtype="int8"),
        "number": [1.5, np.nan, 1e-300],
        "single": np.array([1.1, 2.2, 3.3], dtype="float32"),
        "text": ["x", None, "ü\n"],
        "object": pd.Series(["p", None, "q"], dtype=object),
        "flag": [True, False, True],
        "maybe": pd.Series([True, None, False], dtype=object),
        "time": pd.to_datetime(["2024-01-01", "2024-02-01T12:00:00.123456", None], format="ISO8601"),
        "nano": pd.to_datetime(["2024-01-01T00:00:00.123456789", "2024-02-01", None], format="ISO8601").astype("datetime64[ns]"),
        "zoned": pd.to_datetime(["2024-01-01", "2024-07-01", "2024-03-31"]).tz_localize("Europe/Berlin"),
        "category": pd.Categorical(["u", "v", None]),
        "ordered": pd.Categorical(["low", "high", "low"], categories=["low", "high"], ordered=True),
        "nullable": pd.array([1, None, 3], dtype="Int64"),
        "floating": pd.array([1.5, None, 3], dtype="Float64"),
        "boolean": pd.array([True, None, False], dtype="boolean"),
    }
)


def through_json(frame: pd.DataFrame) -> pd.DataFrame:
    columns = tuple(Column.from_dict(json.loads(json.dumps(column.to_dict()))) for column in read_columns(frame))
    return rows_to_frame(list(frame.columns), json.loads(json.dumps(frame_to_rows(frame))), columns)


def test_every_kind_of_column_is_unchanged_after_json() -> None:
    pd.testing.assert_frame_equal(through_json(FRAME), FRAME, check_exact=True)


@pytest.mark.parametrize("name", FRAME.columns)
def test_one_row_at_a_time(name: str) -> None:
    columns = read_columns(FRAME[[name]])
    for row, cells in enumerate(frame_to_rows(FRAME[[name]])):
        one = rows_to_frame([name], [cells], columns)
        expected = FRAME[name].iloc[[row]].reset_index(drop=True)
        pd.testing.assert_series_equal(one[name], expected, check_dtype=cells[0] is not None)


@given(st.lists(st.floats(allow_infinity=False), min_size=1))
def test_every_digit_of_a_number_is_kept(values: list[float]) -> None:
    frame = pd.DataFrame({"a": np.array(values)})
    assert through_json(frame)["a"].to_numpy().tobytes() == np.array([math.nan if math.isnan(v) else v for v in values]).tobytes()


@given(st.lists(st.text(), min_size=1))
def test_every_text_is_kept(values: list[str]) -> None:
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    assert through_json(frame)["a"].tolist() == values


@given(st.permutations(["whole", "number", "text", "flag"]))
def test_the_order_of_names_does_not_matter(names: list[str]) -> None:
    expected = FRAME[["whole", "number", "text", "flag"]]
    pd.testing.assert_frame_equal(rows_to_frame(names, frame_to_rows(FRAME[names]), read_columns(expected)), expected)


def test_no_rows_are_a_frame_with_the_columns() -> None:
    frame = rows_to_frame(list(FRAME.columns), [], read_columns(FRAME))
    assert list(frame.columns) == list(FRAME.columns)
    assert frame.empty


def test_a_null_among_whole_numbers_makes_floats() -> None:
    frame = rows_to_frame(["whole"], [[1], [None]], read_columns(FRAME[["whole"]]))
    assert frame["whole"].dtype == "float64"
    assert math.isnan(frame["whole"][1])


def test_a_number_that_is_too_large_for_its_type_is_not_wrapped_around() -> None:
    frame = rows_to_frame(["small"], [[1000], [-1000]], read_columns(FRAME[["small"]]))
    assert frame["small"].tolist() == [1000, -1000]


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert rows_to_frame(["whole"], [[3.0]], read_columns(FRAME[["whole"]]))["whole"].dtype == "int64"


def test_an_unseen_category_is_missing() -> None:
    assert rows_to_frame(["category"], [["new"]], read_columns(FRAME[["category"]]))["category"].isna().all()


@pytest.mark.parametrize(
    ("name", "cell", "reason"),
    [
        ("whole", "12", "'whole' must contain a number, but row 1 has '12'"),
        ("whole", True, "'whole' must contain a number, but row 1 has True"),
        ("whole", 2**70, "'whole' must contain a number"),
        ("number", "abc", "'number' must contain a number, but row 1 has 'abc'"),
        ("number", math.inf, "'number' must contain a finite number, but row 1 has inf"),
        ("number", [1], r"'number' must contain a number, but row 1 has \[1\]"),
        ("number", 10**400, "'number' must contain a number"),
        ("text", 7, "'text' must contain text, but row 1 has 7"),
        ("text", {"a": 1}, "'text' must contain text"),
        ("flag", 2, "'flag' must contain true or false, but row 1 has 2"),
        ("flag", "yes", "'flag' must contain true or false"),
        ("time", "yesterday", "'time' must contain a time"),
        ("time", "2024-01-01T00:00:00+02:00", "'time' must contain a time"),
        ("time", 5, "'time' must contain a time"),
        ("zoned", "soon", "'zoned' must contain a time"),
        ("nano", "2024-99-01", "'nano' must contain a time"),
        ("category", ["a"], "'category' must contain a category"),
        ("text", {"x": "y" * 500}, "…"),
    ],
)
def test_a_cell_of_another_kind_is_refused(name: str, cell: Cell, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rows_to_frame([name], [frame_to_rows(FRAME[[name]])[0], [cell]], read_columns(FRAME[[name]]))


@pytest.mark.parametrize(
    ("names", "rows", "reason"),
    [
        (["whole"], [[1]], "missing: text"),
        (["whole", "text", "more"], [[1, "a", 2]], "unknown: more"),
        (["whole", "whole", "text"], [[1, 1, "a"]], "named twice: whole"),
        (["Whole", "text"], [[1, "a"]], "missing: whole; unknown: Whole"),
        (["whole", "text"], [[1]], "row 0 has 1 values, but there are 2 names"),
        (["whole", "text"], [[1, "a"], [1, "a", 2]], "row 1 has 3 values"),
        (["whole", "text"], ["ab"], "row 0 is not a list"),
        (["whole", "text"], [{"whole": 1, "text": "a"}], "row 0 is not a list"),
    ],
)
def test_a_request_with_another_shape_is_refused(names: list[str], rows: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rows_to_frame(names, rows, read_columns(FRAME[["whole", "text"]]))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, math.inf], "infinite"),
        ([[1], [2]], "cannot represent"),
        ([1 + 2j, 3j], "cannot represent"),
        ([b"a", b"b"], "cannot represent"),
    ],
)
def test_a_column_that_json_cannot_represent_is_refused(values: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        frame_to_rows(pd.DataFrame({"a": pd.Series(values)}))


def test_two_columns_with_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="same name"):
        read_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))
