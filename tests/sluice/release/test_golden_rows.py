from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from release_project import Trained, make_rows

from sluice.errors import DataError, IntegrityError, RefusedError
from sluice.release.golden_rows import (
    MAX_ROWS,
    UNSEEN_CATEGORY,
    GoldenRows,
    describe_bad_outputs,
    describe_difference,
    make_golden_rows,
    read_golden_rows,
)

if TYPE_CHECKING:
    from pathlib import Path


class Rule:
    """A model whose probabilities are a function of the frame."""

    def __init__(self, rule: object) -> None:
        self.rule = rule

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        found = np.asarray(self.rule(frame), dtype=float)
        return np.column_stack([1 - found, found])


FEATURES = make_rows(700, 2).drop(columns=["key", "late"])


def test_golden_rows_contain_nulls_and_unseen_categories(layer: Path) -> None:
    frame = read_golden_rows(layer).frame()
    assert set(frame.columns[frame.isna().any()]) == {
        "weight",
        "zone",
        "shipped_at",
        "express",
    }  # the model accepts no null in `items`
    assert UNSEEN_CATEGORY in set(frame["zone"])
    assert "key" not in frame


def test_golden_rows_are_limited_and_the_same_each_time(trained: Trained) -> None:
    model = Rule(lambda frame: frame["weight"].fillna(1) / 1000)
    first, second = make_golden_rows(model, FEATURES), make_golden_rows(model, FEATURES)
    assert 200 < len(first.rows) <= MAX_ROWS
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_rows_are_enough(rows: int) -> None:
    assert make_golden_rows(Rule(lambda frame: np.full(len(frame), 0.5)), FEATURES[:rows]).expected[0] == 0.5


def test_many_columns_leave_room_for_rows() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 400))).rename(columns=str)
    golden = make_golden_rows(Rule(lambda frame: 1 / (1 + np.exp(-frame["0"].fillna(0)))), frame)
    assert 1 <= len(golden.rows) <= MAX_ROWS


def test_rows_that_the_model_does_not_accept_are_left_out() -> None:
    def refuses_nulls(frame: pd.DataFrame) -> np.ndarray:
        if frame["items"].isna().any():
            raise ValueError("items has nulls")
        return np.full(len(frame), 0.25)

    frame = make_golden_rows(Rule(refuses_nulls), FEATURES).frame()
    assert not frame["items"].isna().any()
    assert frame["weight"].isna().any()


def test_numbers_are_equal_to_the_last_bit_after_json(layer: Path) -> None:
    golden = read_golden_rows(layer)
    again = GoldenRows.from_dict(json.loads(json.dumps(golden.to_dict())))
    assert again.expected.tobytes() == golden.expected.tobytes()
    pd.testing.assert_frame_equal(again.frame(), golden.frame(), check_exact=True)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (lambda frame: np.full(len(frame), np.nan), "not in"),
        (lambda frame: np.full(len(frame), 1.0001), "not in"),
        (lambda frame: frame["no such column"], "fails on rows of the holdout"),
        (lambda frame: frame.index / 1000, "converted to JSON and back"),
    ],
)
def test_a_model_that_would_not_be_served_as_trained_is_refused(rule: object, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        make_golden_rows(Rule(rule), FEATURES)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no test rows"):
        make_golden_rows(Rule(lambda frame: frame["weight"]), FEATURES[:0])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"columns": 1, "rows": [], "expected": []}', '{"columns": [{}], "rows": [], "expected": []}']
)
def test_an_unreadable_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(IntegrityError, match="cannot be read as golden rows"):
        read_golden_rows(tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"golden\.json"):
        read_golden_rows(tmp_path)


@pytest.mark.parametrize(
    ("moved", "exact", "tolerated"),
    [
        (0.0, True, True),
        (np.spacing(0.5), True, False),
        (np.spacing(0.5), False, True),
        (9e-13, False, True),
        (2e-12, False, False),
        (np.nan, True, False),
        (np.nan, False, False),
    ],
)
def test_the_class_of_processor_decides_the_tolerance(moved: float, exact: bool, tolerated: bool) -> None:
    expected = np.array([0.25, 0.5])
    fault = describe_difference(expected, expected + np.array([0, moved]), exact=exact)
    assert (not fault) is tolerated
    assert tolerated or fault.startswith("1 of 2 golden rows")


def test_fewer_predictions_are_a_difference() -> None:
    assert describe_difference(np.zeros(3), np.zeros(2), exact=False) == "the model gave 2 predictions for 3 golden rows"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-9, 1.0000001])
def test_values_that_are_not_probabilities_are_reported(bad: float) -> None:
    assert describe_bad_outputs(np.array([0.0, 1.0])) == ""
    assert describe_bad_outputs(np.array([0.5, bad])).startswith("1 of 2 probabilities are not in [0, 1]; row 1 is")
