"""Every type of column against every other one: a result or a refusal by name, and never another error."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sluice.drift.batches import FrameRows
from sluice.drift.comparisons import DriftOutcome, DriftRule, compare_profile
from sluice.drift.profiles import count_rows
from sluice.drift.references import freeze_reference

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)
ROWS = 600
RNG = np.random.default_rng(1)
SMALL = RNG.integers(0, 4, ROWS)
DAYS = pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(SMALL, unit="D"))


def fill(*values: object) -> pd.Series:
    column = np.empty(ROWS, dtype=object)
    for place in range(ROWS):
        column[place] = values[place % len(values)]
    return pd.Series(column, dtype=object)


COLUMNS: dict[str, Any] = {
    "bool": SMALL > 1,
    "bool with nulls": fill(True, False, None),
    "boolean": pd.array(SMALL > 1, dtype="boolean"),
    "int": SMALL,
    "small int": SMALL.astype("int8"),
    "unsigned": SMALL.astype("uint64"),
    "Int64": pd.array([1, None, 2] * (ROWS // 3), dtype="Int64"),
    "large int": fill(2**62, -(2**62)),
    "too large int": fill(2**70, 1),
    "float": SMALL + 0.5,
    "half": SMALL.astype("float16"),
    "single": SMALL.astype("float32"),
    "infinite": fill(np.inf, -np.inf, np.nan, 1.0),
    "Float64": pd.array([1.5, None] * (ROWS // 2), dtype="Float64"),
    "decimal": fill(decimal.Decimal("1.10"), decimal.Decimal("2.2"), None),
    "decimal NaN": fill(decimal.Decimal("NaN"), decimal.Decimal(1)),
    "complex": SMALL + 1j,
    "object": fill("a", "b", None),
    "string": pd.array(["a", "b", None] * (ROWS // 3), dtype="string"),
    "arrow string": pd.array(["a", "b", None] * (ROWS // 3), dtype=pd.ArrowDtype(pa.string())),
    "empty text": fill("", " ", "\u00a0"),
    "surrogate": fill("\ud800", "a"),
    "category": pd.Categorical(["a", "b", None] * (ROWS // 3)),
    "category of ints": pd.Categorical(SMALL),
    "category of days": pd.Categorical(DAYS),
    "category unused": pd.Categorical(["a"] * ROWS, categories=["a", "b", "c"]),
    "interval": pd.cut(pd.Series(SMALL), 2),
    "day": DAYS,
    "day with zone": DAYS.dt.tz_localize("Europe/Berlin"),
    "day in ns": DAYS.astype("datetime64[ns]"),
    "date": DAYS.dt.date,
    "time": fill(dt.time(1), dt.time(2)),
    "duration": pd.to_timedelta(SMALL, unit="h"),
    "period": DAYS.dt.to_period("D"),
    "day as text": DAYS.dt.strftime("%Y-%m-%d"),
    "list": fill([1], [2, 3]),
    "dict": fill({"a": 1}),
    "array": fill(np.array([1, 2])),
    "set": fill({1}),
    "tuple": fill((1, "a")),
    "bytes": fill(b"a"),
    "uuid": fill(uuid.UUID(int=1)),
    "object of a class": fill(object()),
    "function": fill(len),
    "mixed": fill(1, "a", None),
    "mixed numbers": fill(1, 2.5, True),
    "null": fill(None),
    "nan": np.full(ROWS, np.nan),
    "NA": fill(pd.NA),
    "NaT": fill(pd.NaT),
}


@functools.cache
def make_rows(name: str) -> FrameRows:
    frame = pd.DataFrame({"x": COLUMNS[name], "constant": 1.0})
    return FrameRows(lambda: [frame], name)


@pytest.mark.parametrize("before", COLUMNS)
def test_every_pair_has_a_result_or_a_refusal_by_name(before: str) -> None:
    for columns, names in (((), [*COLUMNS]), (("x", "constant"), [before])):
        reference = freeze_reference(make_rows(before), columns=columns)
        for now in names:
            result = compare_profile(reference, count_rows(reference, make_rows(now)), RULE)
            compared, refused, left_out = ("x" in part for part in (result.features, result.not_compared, result.left_out))
            assert compared + refused + left_out == 1, (before, now)
            assert (result.outcome is DriftOutcome.STEADY) == (not refused and not result.drifted), (before, now)
            if before == now:
                assert not result.drifted, before
