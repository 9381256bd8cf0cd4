"""Labels and scores are read strictly: what NumPy would convert to something else is an error."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from sluice.statistics.samples import read_binary_labels, read_numbers

USABLE = [
    [0, 1, 1],
    (0.0, 1.0, 1.0),
    np.array([False, True, True]),
    np.array([0, 1, 1], dtype=np.int8),
    np.array([0, 1, 1], dtype=np.float16),
    np.array([0, True, 1.0], dtype=object),
    np.array([np.int64(0), np.bool_(1), Fraction(1)], dtype=object),
    np.ma.array([0, 1, 1], mask=False),
    pd.Series([0, 1, 1]),
    pd.Series([0, 1, 1], dtype="Int64"),
    pd.Series([False, True, True], dtype="boolean"),
    pd.Series([0, 1, 1], dtype="category"),
    pd.Series([0, 1, 1], dtype="float32", index=[7, 8, 9]),
]
UNUSABLE = [
    (["0", "1", "1"], r"their type is text \(for example '0'\)"),
    ([b"0", b"1", b"1"], "their type is bytes"),
    (np.array(["0", 1, 1], dtype=object), "1 of 3 are not, for example '0'"),
    (pd.Series(["0", "1", "1"], dtype="category"), "3 of 3 are not"),
    ([1, 2, 2], "2 of 3 have other values, for example 2"),
    ([-1, 1, 1], "for example -1"),
    ([0, 1, 0.5], "for example 0.5"),
    ([0, 1, np.nan], "for example nan"),
    ([0, 1, None], "for example nan"),
    (pd.Series([0, 1, None], dtype="Int64"), "for example nan"),
    ([np.inf, 1, 0], "for example inf"),
    (np.ma.array([0, 1, 1], mask=[0, 0, 1]), "1 labels are masked"),
    (np.eye(3), r"one dimension, not 2 \(their shape is \(3, 3\)\)"),
    (pd.DataFrame({"left": [0, 1, 1]}), "one dimension, not 2"),
    (1, "one dimension, not 0"),
    ([[0, 1], [1]], "labels must be a list of numbers"),
    ([0j, 1j], "complex number"),
    (np.array(["2026-01-01"], dtype="datetime64[D]"), "their type is time"),
    ([Decimal(0), Decimal(1)], "2 of 2 are not"),
    ({0, 1}, "one dimension, not 0"),
    ("0101", "one dimension, not 0"),
    (None, "one dimension, not 0"),
]


@pytest.mark.parametrize("labels", USABLE, ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}")
def test_labels_of_every_numeric_type_are_read(labels: object) -> None:
    assert read_binary_labels(labels).tolist() == [False, True, True]


@pytest.mark.parametrize(("labels", "reason"), UNUSABLE, ids=lambda value: str(value)[:30])
def test_labels_of_another_kind_are_an_error(labels: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_binary_labels(labels)


def test_missing_numbers_become_nan() -> None:
    found = read_numbers(pd.Series([0.5, None, pd.NA], dtype="Float64"), "scores")
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan])
    assert found.dtype == np.float64


def test_an_empty_list_has_no_labels() -> None:
    assert read_binary_labels([]).size == 0
