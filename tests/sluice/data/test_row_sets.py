"""A row set is the same whatever file holds its rows, and two sets that share rows are recognised."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sluice.data.holdout import split_holdout
from sluice.data.row_sets import SKETCH_ROWS, describe_row_set, estimate_overlap

IDS = np.arange(4_000)
LABELS = (IDS % 7 == 0).astype(int)


def test_order_and_the_type_of_the_ids_change_nothing() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    as_stored = describe_row_set(IDS, LABELS)
    assert describe_row_set(IDS[order], LABELS[order]) == as_stored
    assert describe_row_set(IDS.astype(float).tolist(), LABELS.astype(bool)) == as_stored
    assert describe_row_set([str(value) for value in IDS], LABELS) == as_stored
    assert (as_stored.rows, as_stored.positives, len(as_stored.sketch)) == (4_000, int(LABELS.sum()), SKETCH_ROWS)


def test_another_label_or_another_id_is_another_set_that_shares_its_rows() -> None:
    first = describe_row_set(IDS, LABELS)
    relabelled, exchanged = LABELS.copy(), IDS.copy()
    relabelled[5] = 1 - relabelled[5]
    exchanged[5] = 10**9
    for other in (describe_row_set(IDS, relabelled), describe_row_set(exchanged, LABELS)):
        assert other.digest != first.digest
        assert estimate_overlap(first, other) > 0.99


@pytest.mark.parametrize(
    ("rows", "shared"), [(4_000, 0), (4_000, 400), (4_000, 4_000), (1_000, 100), (300, 300), (50_000, 4_000)]
)
def test_the_overlap_is_the_share_of_the_smaller_set(rows: int, shared: int) -> None:
    ids = np.concatenate([IDS[:shared], np.arange(10**6, 10**6 + rows - shared)])
    found = estimate_overlap(describe_row_set(IDS, LABELS), describe_row_set(ids, np.zeros(rows)))
    assert found == pytest.approx(shared / min(rows, 4_000), abs=0.06)
    assert (found == 0) is (shared == 0)


def test_small_sets_are_compared_exactly_and_empty_ones_share_nothing() -> None:
    small = describe_row_set(range(10), [0] * 10)
    assert estimate_overlap(small, describe_row_set(range(9, 40), [0] * 31)) == 0.1
    assert estimate_overlap(small, describe_row_set([], [])) == 0


def test_the_sketch_does_not_consist_of_gate_rows_only() -> None:
    is_gate = split_holdout(IDS, gate_fraction=0.5)
    test_rows = describe_row_set(IDS[~is_gate], LABELS[~is_gate])
    assert estimate_overlap(describe_row_set(IDS, LABELS), test_rows) == 1


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_id_is_an_error(missing: object) -> None:
    with pytest.raises(ValueError, match="an id is missing"):
        describe_row_set([1, missing], [0, 1])


def test_ids_without_labels_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        describe_row_set([1, 2], [0])
