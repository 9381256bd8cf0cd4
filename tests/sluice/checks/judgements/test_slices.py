"""The AUC in several slices at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from sluice.checks.judgements import judge_auc, judge_slices
from sluice.data.labelled_rows import LabelledRows
from sluice.errors import DataError
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reader:
    """A model that returns the column ``score``."""

    classes_ = (0, 1)

    def predict_proba(self, features: pd.DataFrame) -> Any:
        return np.c_[1 - features["score"], features["score"]]


def make_rows(sizes: Mapping[str, int], signals: Mapping[str, float], seed: int = 1) -> LabelledRows:
    random = np.random.default_rng(seed)
    parts = []
    for name, size in sizes.items():
        labels = (np.arange(size) % 4 == 0).astype(np.int8)
        odds = signals[name] * labels + random.normal(size=size)
        parts.append(pd.DataFrame({"part": name, "score": 1 / (1 + np.exp(-odds)), "left": labels}))
    frame = pd.concat(parts, ignore_index=True)
    ids = np.empty(len(frame), dtype=object)
    ids[:] = list(range(len(frame)))
    return LabelledRows(frame=frame, features=frame.drop(columns="left"), labels=frame["left"].to_numpy(), ids=ids)


def queries(*names: str) -> dict[str, str]:
    return {name: f"part == {name!r}" for name in names}


def test_each_slice_gets_a_verdict() -> None:
    rows = make_rows({"good": 2000, "bad": 2000, "tiny": 20}, {"good": 1.5, "bad": 0.3, "tiny": 1.5})
    good, bad, tiny = judge_slices("auc", Reader(), rows, queries("good", "bad", "tiny"), threshold=0.75)
    assert [verdict.check for verdict in (good, bad, tiny)] == ["auc_good", "auc_bad", "auc_tiny"]
    assert (good.outcome, good.unproven, good.rows) == (Outcome.PASS, False, 2000)
    assert bad.outcome is Outcome.FAIL
    assert tiny.outcome is Outcome.INCONCLUSIVE
    assert "20 rows with 5 positive" in tiny.detail


def test_one_slice_is_proven_exactly_if_its_interval_is_above_the_threshold() -> None:
    for seed in range(40):
        rows = make_rows({"one": 300}, {"one": 1.2}, seed)
        (verdict,) = judge_slices("auc", Reader(), rows, queries("one"), threshold=0.74)
        if verdict.outcome is Outcome.PASS:
            assert verdict.unproven == (verdict.interval.low < 0.74)
        else:
            assert verdict.failed == (verdict.interval.high < 0.74)


def test_a_slice_that_may_be_low_by_chance_is_inconclusive() -> None:
    rows = make_rows({"one": 80}, {"one": 0.9}, seed=3)
    alone = judge_auc("auc", rows.labels, rows.features["score"], threshold=0.78)
    (verdict,) = judge_slices("auc", Reader(), rows, queries("one"), threshold=0.78)
    assert (alone.outcome, verdict.outcome) == (Outcome.FAIL, Outcome.INCONCLUSIVE)
    assert "this may be chance; if the AUC stays so low, about" in verdict.detail
    assert verdict.blocks


def test_slices_that_are_not_finite_fail() -> None:
    rows = make_rows({"one": 80, "two": 80}, {"one": 1.0, "two": 1.0})
    rows.features.loc[rows.features["part"] == "one", "score"] = np.nan
    one, two = judge_slices("auc", Reader(), rows, queries("one", "two"), threshold=0.5)
    assert (one.outcome, one.detail) == (Outcome.FAIL, "80 scores are not finite")
    assert two.outcome is Outcome.PASS


def test_an_empty_slice_is_inconclusive_and_no_slice_is_an_error() -> None:
    rows = make_rows({"one": 80}, {"one": 1.0})
    (empty,) = judge_slices("auc", Reader(), rows, queries("none"), threshold=0.5)
    assert (empty.outcome, empty.rows) == (Outcome.INCONCLUSIVE, 0)
    with pytest.raises(DataError, match="there is no slice"):
        judge_slices("auc", Reader(), rows, {}, threshold=0.5)
    with pytest.raises(DataError, match="cannot select rows"):
        judge_slices("auc", Reader(), rows, {"wrong": "planet == 'Mars'"}, threshold=0.5)


@pytest.mark.slow
def test_with_ten_slices_chance_fails_hardly_any_model() -> None:
    """Every slice is exactly at the threshold. Judged one by one, some slice is below in nearly every trial."""
    names = [f"s{number}" for number in range(10)]
    truth = 0.7602  # the AUC of a normal shift of one standard deviation
    failed = naive = 0
    for seed in range(300):
        rows = make_rows(dict.fromkeys(names, 200), dict.fromkeys(names, 1.0), seed)
        failed += any(verdict.failed for verdict in judge_slices("auc", Reader(), rows, queries(*names), threshold=truth))
        parts = [rows.select(query) for query in queries(*names).values()]
        naive += any(judge_auc("auc", part.labels, part.features["score"], threshold=truth).failed for part in parts)
    assert failed / 300 <= 0.05
    assert naive / 300 >= 0.95
