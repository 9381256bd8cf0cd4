"""Columns of every type, drawn from one distribution, to simulate how often drift is reported without drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from sluice.drift.comparisons import DriftOutcome, DriftRule, compare_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)
"""The default rule of ``[drift]``."""


def tail(categories: int, exponent: float) -> NDArray[np.float64]:
    """Return the shares of categories whose frequency falls with their rank, shape (categories,)."""
    shares = np.arange(1, categories + 1, dtype=float) ** -exponent
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def draw(rng: np.random.Generator, rows: int, *, now: bool = False) -> pd.DataFrame:
    """Draw columns of every type. Some are stored in another way now, with the same distribution."""
    flags, small = rng.random(rows) < 0.3, rng.integers(0, 5, rows)
    cents = rng.integers(100, 10**6, rows)
    with_nulls = small.astype(float)
    with_nulls[rng.random(rows) < 0.002] = np.nan
    names = {size: np.array([f"c{number}" for number in range(size)], dtype=object) for size in (3, 48, 200, 2_000)}
    return pd.DataFrame(
        {
            "normal": rng.normal(size=rows),
            "skewed": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(sigma=2, size=rows)),
            "often_zero": np.where(rng.random(rows) < 0.6, 0, rng.gamma(2.0, size=rows)),
            "flag": flags.astype(int) if now else flags,
            "whole": with_nulls if now else small,
            "count": rng.poisson(0.3, rows),
            "money": pd.Series(pa.array(cents).cast(pa.decimal128(21, 2)).to_pylist(), dtype=object)
            if not now
            else cents.astype(float),
            "few": names[3][rng.integers(0, 3, rows)],
            "rarely_missing": pd.Series(names[3][rng.integers(0, 3, rows)]).mask(rng.random(rows) < 0.005, None),
            "long_tail": names[48][rng.choice(48, rows, p=tail(48, 2))],
            "longer_tail": names[200][rng.choice(200, rows, p=tail(200, 1))],
            "heavy_tail": names[2_000][rng.choice(2_000, rows, p=tail(2_000, 0.8))],
            "equal_shares": pd.Categorical(names[48][rng.integers(0, 48, rows)]),
            "empty": np.full(rows, np.nan if now else None),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
        }
    )


def count_outcomes(reference: int, rows: int, runs: int, *, seed: int) -> dict[DriftOutcome, int]:
    """Compare samples without drift, and count the outcomes.

    Args:
        reference: Rows of each reference.
        rows: Rows of each present sample.
        runs: Number of comparisons.
        seed: Seed of the generator.
    """
    rng = np.random.default_rng(seed)
    outcomes = [compare_frames(draw(rng, reference), draw(rng, rows, now=True), rule=RULE).outcome for _ in range(runs)]
    return {outcome: outcomes.count(outcome) for outcome in DriftOutcome}


def count_found_shifts(rows: int, runs: int, *, shift: float, seed: int) -> int:
    """Count in how many comparisons exactly the shifted one of two normal columns is found.

    Args:
        rows: Rows of each present sample. Each reference has 500.
        runs: Number of comparisons.
        shift: How far the column moved, in standard deviations.
        seed: Seed of the generator.
    """
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(runs):
        before = pd.DataFrame({"x": rng.normal(size=500), "y": rng.normal(size=500)})
        now = pd.DataFrame({"x": rng.normal(size=rows) + shift, "y": rng.normal(size=rows)})
        found += compare_frames(before, now, rule=RULE).drifted == ["x"]
    return found
