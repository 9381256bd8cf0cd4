from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from release_project import Trained, make_rows

from sluice.errors import DataError, IntegrityError, RefusedError
from sluice.release.golden import MOST_ROWS, UNSEEN, Golden, describe_bad_outputs, describe_difference, make_golden, read_golden

if TYPE_CHECKING:
    from pathlib import Path


class Rule:
    """A model that is a function of the frame."""

    def __init__(self, rule: object) -> None:
        self.rule = rule

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        found = np.asarray(self.rule(frame), dtype=float)
        return np.column_stack([1 - found, found])


FEATURES = make_rows(700, 2).drop(columns=["key", "late"])


def test_nulls_and_unseen_categories_are_among_them(layer: Path) -> None:
    frame = read_golden(layer).frame()
    assert set(frame.columns[frame.isna().any()]) == {"weight", "zone", "shipped_at", "express"}  # it takes no null in `items`
    assert UNSEEN in set(frame["zone"])
    assert "key" not in frame


def test_they_are_no_more_than_allowed_and_the_same_each_time(trained: Trained) -> None:
    model = Rule(lambda frame: frame["weight"].fillna(1) / 1000)
    first, second = make_golden(model, FEATURES), make_golden(model, FEATURES)
    assert 200 < len(first.rows) <= MOST_ROWS
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_rows_are_enough(rows: int) -> None:
    assert make_golden(Rule(lambda frame: np.full(len(frame), 0.5)), FEATURES[:rows]).expected[0] == 0.5


def test_many_columns_leave_room_for_rows() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 400))).rename(columns=str)
    golden = make_golden(Rule(lambda frame: 1 / (1 + np.exp(-frame["0"].fillna(0)))), frame)
    assert 1 <= len(golden.rows) <= MOST_ROWS


def test_what_the_model_does_not_take_is_left_out() -> None:
    def refuses_nulls(frame: pd.DataFrame) -> np.ndarray:
        if frame["items"].isna().any():
            raise ValueError("items has nulls")
        return np.full(len(frame), 0.25)

    frame = make_golden(Rule(refuses_nulls), FEATURES).frame()
    assert not frame["items"].isna().any()
    assert frame["weight"].isna().any()


def test_numbers_come_back_from_json_to_the_last_bit(layer: Path) -> None:
    golden = read_golden(layer)
    again = Golden.from_dict(json.loads(json.dumps(golden.to_dict())))
    assert again.expected.tobytes() == golden.expected.tobytes()
    pd.testing.assert_frame_equal(again.frame(), golden.frame(), check_exact=True)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (lambda frame: np.full(len(frame), np.nan), "not in"),
        (lambda frame: np.full(len(frame), 1.0001), "not in"),
        (lambda frame: frame["no such column"], "cannot answer rows"),
        (lambda frame: frame.index / 1000, "through JSON"),
    ],
)
def test_a_model_that_would_not_be_served_as_trained_is_refused(rule: object, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        make_golden(Rule(rule), FEATURES)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no test rows"):
        make_golden(Rule(lambda frame: frame["weight"]), FEATURES[:0])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"columns": 1, "rows": [], "expected": []}', '{"columns": [{}], "rows": [], "expected": []}']
)
def test_an_unreadable_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(IntegrityError, match="cannot be read as golden rows"):
        read_golden(tmp_path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"golden\.json"):
        read_golden(tmp_path)


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
def test_the_class_of_processor_chooses_the_tolerance(moved: float, exact: bool, tolerated: bool) -> None:
    expected = np.array([0.25, 0.5])
    fault = describe_difference(expected, expected + np.array([0, moved]), exact=exact)
    assert (not fault) is tolerated
    assert tolerated or fault.startswith("1 of 2 golden rows")


def test_fewer_predictions_are_a_difference() -> None:
    assert describe_difference(np.zeros(3), np.zeros(2), exact=False) == "2 predictions for 3 golden rows"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-9, 1.0000001])
def test_what_is_no_probability_is_told(bad: float) -> None:
    assert describe_bad_outputs(np.array([0.0, 1.0])) == ""
    assert describe_bad_outputs(np.array([0.5, bad])).startswith("1 of 2 probabilities are not in [0, 1]; row 1 is")
