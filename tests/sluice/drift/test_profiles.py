"""The streaming form: counts per frozen bin that can be merged and saved."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.drift.batches import FrameRows
from sluice.drift.comparisons import DriftRule, compare_profile
from sluice.drift.profiles import MOST_NEW_CATEGORIES, DriftProfile, count_rows
from sluice.drift.references import DriftReference, freeze_reference
from sluice.errors import DataError

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)


def make_frame(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "member": rng.random(rows) < 0.4,
            "zone": rng.choice(["north", "south", "east"], rows),
            "empty": [None] * rows,
            "tags": [["a"]] * rows,
            "name": [f"{number}" for number in range(rows)],
        }
    )


def freeze(frame: pd.DataFrame) -> DriftReference:
    return freeze_reference(FrameRows(lambda: [frame], "training.parquet"))


def count(reference: DriftReference, frame: pd.DataFrame) -> DriftProfile:
    return count_rows(reference, FrameRows(lambda: [frame], "now.parquet"))


REFERENCE = freeze(make_frame(3_000, 1))


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=5))
def test_merged_parts_are_the_counts_of_the_whole(sizes: list[int]) -> None:
    whole = make_frame(sum(sizes), 2)
    whole.loc[::3, "zone"] = "west"
    ends = np.cumsum(sizes)
    merged = DriftProfile(reference=REFERENCE.digest)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        merged = merged.merge(count(REFERENCE, whole.iloc[start:end]))
    assert merged == count(REFERENCE, whole)


def test_a_saved_reference_and_profile_give_the_same_result() -> None:
    now = make_frame(2_000, 2)
    now.loc[::3, "zone"] = "North "
    profile = count(REFERENCE, now)
    reference_again = DriftReference.from_dict(json.loads(json.dumps(REFERENCE.to_dict(), allow_nan=False)))
    profile_again = DriftProfile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False)))
    assert (reference_again, profile_again) == (REFERENCE, profile)
    assert reference_again.digest == REFERENCE.digest
    result = compare_profile(reference_again, profile_again, RULE)
    assert result == compare_profile(REFERENCE, profile, RULE)
    assert result.drifted == ["zone"]
    assert result.hints == {"zone": ["'North ' (667 rows) is 'north' in another spelling"]}
    assert result.not_compared == {"tags": "it holds lists or other nested values"}


def test_counts_in_other_bins_are_refused() -> None:
    other = freeze(make_frame(3_000, 5))
    profile = count(other, make_frame(1_000, 2))
    with pytest.raises(DataError, match="bins of another reference"):
        compare_profile(REFERENCE, profile, RULE)
    with pytest.raises(ValueError, match="different references"):
        profile.merge(count(REFERENCE, make_frame(1_000, 2)))


@pytest.mark.parametrize("change", [{"version": 1}, {"version": 3}, {"format": "something"}, {"version": None}])
def test_another_version_or_format_is_refused(change: dict[str, object]) -> None:
    for kind, document in ((DriftReference, REFERENCE.to_dict()), (DriftProfile, count(REFERENCE, make_frame(10, 2)).to_dict())):
        with pytest.raises(DataError, match="the document is "):
            kind.from_dict({**document, **change})


@pytest.mark.parametrize(("key", "value"), [("columns", {"x": {"kind": "number"}}), ("rows", "many"), ("columns", None)])
def test_a_damaged_reference_is_refused(key: str, value: object) -> None:
    with pytest.raises(DataError, match="the saved reference is damaged"):
        DriftReference.from_dict({**REFERENCE.to_dict(), key: value})


def test_a_damaged_profile_is_refused() -> None:
    with pytest.raises(DataError, match="damaged"):
        DriftProfile.from_dict({**count(REFERENCE, make_frame(10, 2)).to_dict(), "counts": {"zone": ["a"]}})
    cut = count(REFERENCE, make_frame(600, 2)).to_dict()
    cut["counts"]["zone"] = cut["counts"]["zone"][:-1]
    with pytest.raises(ValueError, match="counts for"):
        compare_profile(REFERENCE, DriftProfile.from_dict(cut), RULE)


def test_a_fault_in_one_part_is_a_fault_of_the_whole() -> None:
    good, bad = make_frame(1_000, 2), make_frame(1_000, 3).assign(member="yes")
    merged = count(REFERENCE, good).merge(count(REFERENCE, bad))
    assert merged.faults["member"] == "it holds text, and the reference holds numbers"
    assert "member" not in merged.counts
    assert merged.rows == 2_000


def test_many_new_categories_do_not_fill_the_memory_and_are_all_counted() -> None:
    now = make_frame(50_000, 2).assign(zone=[f"z{number}" for number in range(50_000)])
    profile = count(REFERENCE, now)
    assert len(profile.new["zone"]) == MOST_NEW_CATEGORIES
    assert profile.counts["zone"][-2] == 50_000


def test_infinite_numbers_lie_in_the_outer_bins() -> None:
    now = make_frame(1_000, 2).assign(amount=[math.inf, -math.inf] * 500)
    counts = count(REFERENCE, now).counts["amount"]
    assert (counts[0], counts[-2], counts[-1]) == (500, 500, 0)


def test_small_floats_fall_into_the_same_bins_as_in_the_reference() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.7] * 500, dtype=np.float32)
    reference = freeze(pd.DataFrame({"x": values}))
    assert count(reference, pd.DataFrame({"x": values})).counts["x"] == reference.columns["x"].bins.counts
