"""The random sample of a large file: drawn in one pass, always the same, and independent of the order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sluice.drift.batches import FrameRows
from sluice.drift.samples import MOST_ROWS, draw_sample, find_limit


def draw(frame: pd.DataFrame, most: int, *, parts: int = 7) -> np.ndarray:
    size = -(-len(frame) // parts)
    rows = FrameRows(lambda: [frame.iloc[start : start + size] for start in range(0, len(frame), size)])
    sample = draw_sample(rows, ["x"], most=most)
    assert sample.total == len(frame)
    values = np.concatenate([array.to_numpy() for array in sample.columns["x"]])
    assert len(values) == sample.rows
    return values


def test_few_rows_are_all_taken_in_their_order() -> None:
    frame = pd.DataFrame({"x": np.arange(1_000)})
    assert draw(frame, 1_000).tolist() == list(range(1_000))


def test_a_sample_is_bounded_and_does_not_depend_on_the_batches() -> None:
    frame = pd.DataFrame({"x": np.arange(100_000)})
    values = draw(frame, 10_000)
    assert 4_000 < len(values) <= 10_000
    assert draw(frame, 10_000, parts=31).tolist() == values.tolist()


def test_a_sample_represents_sorted_and_periodic_rows() -> None:
    rows = np.arange(400_000)
    values = draw(pd.DataFrame({"x": rows}), 20_000)
    shares = np.histogram(values, bins=10, range=(0, rows.size))[0] / values.size
    assert np.all(np.abs(shares - 0.1) < 0.015)
    for period in (2, 3, 8, 1024):
        share = np.mean(values % period == 0)
        assert abs(share - 1 / period) < 4 * np.sqrt(1 / period / values.size)


def test_many_columns_have_a_smaller_sample() -> None:
    assert find_limit(1) == find_limit(32) == MOST_ROWS
    assert find_limit(64) == MOST_ROWS // 2
    assert find_limit(100_000) == 16_384
