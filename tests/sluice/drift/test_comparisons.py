"""The comparison of two frames: what is drift, what is not, and what cannot be decided."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sluice.drift.batches import open_rows
from sluice.drift.comparisons import DriftOutcome, DriftResult, DriftRule, compare_frames, compare_profile
from sluice.drift.profiles import count_rows
from sluice.drift.references import DriftReference, freeze_reference
from sluice.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)
ROWS = 5_000
DRIFTED, STEADY, INCONCLUSIVE = DriftOutcome.DRIFTED, DriftOutcome.STEADY, DriftOutcome.INCONCLUSIVE


def frame(rows: int, *, shift: float = 0.0, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "spend": random.normal(100 * (1 + shift), 100, rows),
            "contract": random.choice(["monthly", "annual"], rows),
            "is_enterprise": random.random(rows) < 0.08,
            "signed_up": pd.date_range("2026-01-01", periods=rows, freq="min"),
            "name": [f"customer {number}" for number in range(rows)],
        }
    )


def compare(before: object, now: object) -> DriftResult:
    """Compare a column, beside a column that never changes."""
    return compare_frames(pd.DataFrame({"x": before, "constant": 1.0}), pd.DataFrame({"x": now, "constant": 1.0}), rule=RULE)


def test_the_same_distributions_are_steady() -> None:
    result = compare_frames(frame(ROWS), frame(ROWS, seed=2), rule=RULE)
    assert (result.outcome, result.drifted) == (STEADY, [])
    assert result.detail.startswith("none of 5 features has drifted; compared only in part: signed_up (")
    assert list(result.features) == ["spend", "contract", "is_enterprise", "signed_up", "name"]


def test_times_and_names_are_compared_in_part_and_the_result_says_so() -> None:
    later = frame(ROWS, seed=2).assign(name=[f"new {row}" for row in range(ROWS)])
    later["signed_up"] += pd.Timedelta(days=365)
    result = compare_frames(frame(ROWS), later, rule=RULE)
    assert (result.outcome, result.left_out, result.not_compared) == (STEADY, {}, {})
    assert result.in_part == result.to_dict()["in_part"]
    assert set(result.in_part) == {"signed_up", "name"}
    assert "only its missing values" in result.in_part["signed_up"]
    assert result.in_part["name"] == "in 10 groups, because it has 5,000 different values"
    assert result.in_part["name"] in result.detail


@pytest.mark.parametrize("column", ["signed_up", "name"])
@pytest.mark.parametrize("form", ["frame", "parquet", "csv"])
def test_a_time_or_a_name_that_vanishes_empties_or_becomes_something_else_is_never_steady(
    column: str, form: str, tmp_path: Path
) -> None:
    before, now = frame(ROWS), frame(ROWS, seed=2)

    def judge(changed: pd.DataFrame) -> DriftResult:
        if form == "frame":
            return compare_frames(before, changed, rule=RULE)
        paths = [tmp_path / f"{name}.{form}" for name in ("before", "now")]
        for rows, path in zip((before, changed), paths, strict=True):
            rows.to_csv(path, index=False) if form == "csv" else rows.to_parquet(path)
        reference, present = (open_rows(path) for path in paths)
        assert reference
        assert present
        frozen = DriftReference.from_dict(json.loads(json.dumps(freeze_reference(reference).to_dict())))
        return compare_profile(frozen, count_rows(frozen, present), RULE)

    assert judge(now).outcome is STEADY
    assert judge(now.assign(**{column: None})).drifted == [column]
    assert judge(now.assign(**{column: now[column].where(now.index % 2 == 0)})).drifted == [column]
    missing = judge(now.drop(columns=column))
    assert (missing.outcome, missing.not_compared) == (INCONCLUSIVE, {column: "the present data has no such column"})
    other = "2026-01-01" if column == "name" else "unknown"
    assert judge(now.assign(**{column: other})).outcome is not STEADY
    if (column, form) != ("name", "csv"):  # in a CSV file, a column that was text may look like numbers
        numbers = judge(now.assign(**{column: 1.0}))
        assert numbers.outcome is INCONCLUSIVE
        assert "it holds numbers, and the reference holds" in numbers.not_compared[column]


def test_a_name_that_takes_most_rows_has_drifted() -> None:
    now = frame(ROWS, seed=2)
    assert compare_frames(frame(ROWS), now.assign(name="customer 1"), rule=RULE).drifted == ["name"]
    assert compare_frames(frame(ROWS), now.assign(name=now["name"].where(now.index % 2 == 0, "x")), rule=RULE).drifted == ["name"]


def test_times_may_become_text_and_times_of_day_are_compared_as_numbers() -> None:
    days = pd.Series(pd.date_range("2026-01-01", periods=ROWS, freq="min"))
    assert compare(days, days.dt.strftime("%Y-%m-%d")).outcome is STEADY
    assert compare(days.dt.strftime("%Y-%m-%d"), days).outcome is STEADY
    assert compare(days.dt.time, days.dt.time).outcome is STEADY
    assert compare(days.dt.time, [dt.time(3)] * ROWS).drifted == ["x"]
    assert "x" in compare(days.dt.time, days).not_compared


def test_a_shifted_feature_is_named() -> None:
    result = compare_frames(frame(ROWS), frame(ROWS, shift=0.8, seed=2), rule=RULE)
    assert (result.outcome, result.drifted) == (DRIFTED, ["spend"])
    assert result.detail.startswith("drifted: spend (PSI 0.")
    assert result.to_dict()["drifted"] == ["spend"]
    assert result.to_dict()["outcome"] == "drifted"


def test_a_new_frequent_category_is_drift() -> None:
    now = frame(ROWS, seed=2)
    now.loc[: len(now) // 2, "contract"] = "multi-year"
    assert compare_frames(frame(ROWS), now, rule=RULE).drifted == ["contract"]


def test_new_missing_values_are_drift() -> None:
    now = frame(ROWS, seed=2)
    now.loc[: len(now) // 2, "spend"] = np.nan
    assert compare_frames(frame(ROWS), now, rule=RULE).drifted == ["spend"]


@pytest.mark.parametrize(("before", "now"), [(ROWS, 100), (100, ROWS), (100, 100)])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_with_few_rows_on_either_side_the_result_is_inconclusive_and_not_steady(before: int, now: int, shift: float) -> None:
    result = compare_frames(frame(before), frame(now, shift=shift, seed=2), rule=RULE)
    assert (result.outcome, result.drifted) == (INCONCLUSIVE, [])
    assert result.detail.startswith("too few rows to decide whether a feature has drifted: ")
    assert result.detail.endswith("has 100, and 500 are needed")


def test_an_index_above_the_limit_that_may_be_chance_is_inconclusive() -> None:
    names = [f"c{number}" for number in range(60)]
    found = set()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        result = compare_frames(
            pd.DataFrame({"x": rng.choice(names[:20], 80)}),
            pd.DataFrame({"x": rng.choice(names[:20], 80)}),
            rule=DriftRule(threshold=0.2, alpha=0.01, least_rows=50),
        )
        psi = result.features["x"].estimate.psi
        found.add(result.outcome)
        assert (result.outcome is STEADY) == (psi <= RULE.threshold)
    assert INCONCLUSIVE in found


def test_only_the_named_columns_are_compared_and_a_named_time_is_compared_as_a_number() -> None:
    result = compare_frames(frame(ROWS), frame(ROWS, shift=0.8, seed=2), columns=["contract"], rule=RULE)
    assert list(result.features) == ["contract"]
    assert result.outcome is STEADY
    later = frame(ROWS).assign(signed_up=lambda rows: rows["signed_up"] + pd.Timedelta(days=2))
    assert compare_frames(frame(ROWS), frame(ROWS), columns=["signed_up"], rule=RULE).outcome is STEADY
    assert compare_frames(frame(ROWS), later, columns=["signed_up"], rule=RULE).drifted == ["signed_up"]


def test_columns_can_be_left_out_for_a_given_reason() -> None:
    result = compare_frames(frame(ROWS), frame(ROWS, shift=0.8, seed=2), left_out={"spend": "it is paid in advance"}, rule=RULE)
    assert (result.outcome, result.left_out["spend"]) == (STEADY, "it is paid in advance")


def test_a_named_column_that_the_reference_lacks_is_an_error() -> None:
    with pytest.raises(DataError, match="the reference has no column 'spent', which drift"):
        compare_frames(frame(ROWS), frame(ROWS), columns=["spent"], rule=RULE)


def test_nothing_to_compare_is_an_error_that_names_the_reasons() -> None:
    with pytest.raises(
        DataError, match="no column can be compared fully: name: in 10 groups, because it has 1,000 different values"
    ):
        compare_frames(frame(1_000)[["name"]], frame(1_000)[["name"]], rule=RULE)
    with pytest.raises(DataError, match="the present data has no rows"):
        compare_frames(frame(1_000), frame(1_000).head(0), rule=RULE)
    with pytest.raises(DataError, match="the reference has no rows"):
        compare_frames(frame(1_000).head(0), frame(1_000), rule=RULE)


# Types


def test_a_boolean_that_is_now_written_as_0_and_1_has_not_drifted() -> None:
    rng = np.random.default_rng(0)
    before, same = rng.random(ROWS) < 0.3, rng.random(ROWS) < 0.3
    for now in (same.astype(int), same.astype(float), same.astype(object), pd.array(same, dtype="boolean")):
        assert compare(before, now).outcome is STEADY
        assert compare(now, before).outcome is STEADY
    assert compare(before, (rng.random(ROWS) < 0.7).astype(int)).drifted == ["x"]
    with_missing = pd.array(np.where(rng.random(ROWS) < 0.5, None, same), dtype="boolean")
    assert compare(before, with_missing).drifted == ["x"]


def test_decimals_are_numbers() -> None:
    rng = np.random.default_rng(0)
    money = [decimal.Decimal(int(value)).scaleb(-2) for value in rng.integers(100, 10**6, ROWS)]
    assert compare(money, [value * 100 for value in money]).drifted == ["x"]
    assert compare(money, money[::-1]).outcome is STEADY
    assert compare(money, [float(value) for value in money]).outcome is STEADY
    assert compare(money, [*money[:-10], *[None] * 10]).outcome is STEADY


def test_whole_numbers_that_became_floats_because_of_nulls_have_not_drifted() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.integers(0, 4, ROWS), rng.integers(0, 4, ROWS).astype(float)
    now[:20] = np.nan
    assert compare(before, now).outcome is STEADY
    assert compare(before, pd.array(now, dtype="Int64")).outcome is STEADY


@pytest.mark.parametrize("values", [[[1, 2]], [{"a": 1}], [np.array([1.0])]], ids=["list", "dict", "array"])
def test_nested_values_are_refused_by_the_name_of_the_column(values: list[object]) -> None:
    result = compare(values * ROWS, values * ROWS)
    assert result.outcome is INCONCLUSIVE
    assert result.not_compared == {"x": "it holds lists or other nested values"}
    assert result.detail == "none of 1 features has drifted; not compared: x (it holds lists or other nested values)"
    assert compare([1.0] * ROWS, values * ROWS).not_compared == result.not_compared


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ([True, "x"], [True, True], "it holds values of several types (bool, str)"),
        ([1, 2], ["1", "2"], "it holds text, and the reference holds numbers"),
        (["1", "2"], [1, 2], "it holds numbers, and the reference holds text"),
        (["a", "b"], pd.to_datetime(["2026-01-01", "2026-01-02"]), "it holds dates or times, and the reference holds text"),
        ([1, 2], [b"a", b"b"], "it holds bytes"),
        ([1, 2], [1, "b"], "it holds values of several types (int, str)"),
        ([1 + 2j, 2], [1, 2], "its values of the type complex cannot be read"),
    ],
)
def test_another_type_is_never_steady(before: list[object], now: list[object], reason: str) -> None:
    many = [pd.concat([pd.Series(values)] * (ROWS // 2), ignore_index=True) for values in (before, now)]
    result = compare(*many)
    assert result.outcome is INCONCLUSIVE
    assert result.not_compared == {"x": reason}


def test_drift_is_reported_although_another_column_cannot_be_compared() -> None:
    before, now = frame(ROWS).assign(tags=[["a"]] * ROWS), frame(ROWS, shift=0.8, seed=2)
    result = compare_frames(before, now, rule=RULE)
    assert (result.outcome, result.drifted) == (DRIFTED, ["spend"])
    assert result.detail.endswith("; not compared: tags (it holds lists or other nested values)")


def test_a_column_without_values_is_compared_by_its_missing_values() -> None:
    empty, text, numbers = [None] * ROWS, ["a", "b"] * (ROWS // 2), [1.0, 2.0] * (ROWS // 2)
    assert compare(empty, empty).outcome is STEADY
    assert compare(empty, [float("nan")] * ROWS).outcome is STEADY
    for values in (text, numbers, [True] * ROWS):
        assert compare(empty, values).drifted == ["x"]
        assert compare(values, empty).drifted == ["x"]


def test_a_column_that_is_missing_now_is_named_and_a_new_one_is_left_out() -> None:
    now = frame(ROWS, seed=2).drop(columns="spend").assign(region="north")
    result = compare_frames(frame(ROWS), now, rule=RULE)
    assert result.outcome is INCONCLUSIVE
    assert result.not_compared == {"spend": "the present data has no such column"}
    assert result.left_out["region"] == "the reference has no such column"


@pytest.mark.parametrize("side", ["before", "now", "both"])
def test_two_columns_of_one_name_are_refused_by_name(side: str) -> None:
    single, twice = frame(ROWS), pd.concat([frame(ROWS), frame(ROWS)[["spend"]]], axis=1)
    result = compare_frames(single if side == "now" else twice, single if side == "before" else twice, rule=RULE)
    assert result.outcome is INCONCLUSIVE
    assert result.not_compared == {"spend": "two columns have this name"}


def test_texts_with_dates_are_compared_as_times_are() -> None:
    days = pd.date_range("2026-01-01", periods=200).strftime("%Y-%m-%d").tolist() * (ROWS // 200)
    result = compare(days, [day.replace("2026", "2027") for day in days])
    assert result.outcome is STEADY
    assert set(result.in_part) == {"x"}


@pytest.mark.parametrize("dtype", ["object", "string", "category", "str"])
def test_every_type_of_text_is_a_category(dtype: str) -> None:
    rng = np.random.default_rng(0)
    before, now = (pd.Series(rng.choice(["a", "b", None], ROWS)) for _ in range(2))
    assert compare(before, now.astype(dtype)).outcome is STEADY
    assert compare(before.astype(dtype), now).outcome is STEADY
    assert compare(before.astype(dtype), pd.Series(["a"] * ROWS, dtype=dtype)).drifted == ["x"]


# Hints


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda name: f" {name}  ",
        lambda name: name.replace(" ", "\u00a0"),
        lambda name: name.replace("\u00e9", "e\u0301"),
    ],
)
def test_new_categories_that_are_known_ones_in_another_spelling_get_a_hint(spell: object) -> None:
    names = np.random.default_rng(0).choice(["caf\u00e9 noir", "caf\u00e9 blanc"], ROWS)
    assert callable(spell)
    result = compare(names, [spell(name) for name in names])
    assert result.drifted == ["x"]
    assert len(result.hints["x"]) == 2
    assert all(hint.endswith("in another spelling") for hint in result.hints["x"])


def test_really_new_categories_get_no_hint() -> None:
    assert compare(["a", "b"] * (ROWS // 2), ["c", "d"] * (ROWS // 2)).hints == {}
