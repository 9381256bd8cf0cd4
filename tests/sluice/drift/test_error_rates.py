"""How often drift is reported without drift, over columns of every type, and how surely a real shift is found."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.drift.comparisons import DriftOutcome, DriftRule, compare_frames

if TYPE_CHECKING:
    from pathlib import Path

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)
RUNS = 2_000


def tail(categories: int, exponent: float) -> np.ndarray:
    shares = np.arange(1, categories + 1, dtype=float) ** -exponent
    return np.asarray(shares / shares.sum())


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
            "rarely_missing": np.where(rng.random(rows) < 0.005, None, names[3][rng.integers(0, 3, rows)]),
            "long_tail": names[48][rng.choice(48, rows, p=tail(48, 2))],
            "longer_tail": names[200][rng.choice(200, rows, p=tail(200, 1))],
            "heavy_tail": names[2_000][rng.choice(2_000, rows, p=tail(2_000, 0.8))],
            "equal_shares": pd.Categorical(names[48][rng.integers(0, 48, rows)]),
            "empty": np.full(rows, np.nan) if now else np.full(rows, None),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
        }
    )


def test_long_tailed_categories_give_no_alarm_in_100_comparisons_without_drift() -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"c{number}" for number in range(48)], dtype=object)
    for _ in range(100):
        before, now = (
            pd.DataFrame({f"x{place}": rng.choice(names, 500, p=tail(48, 2)) for place in range(10)}) for _ in range(2)
        )
        assert compare_frames(before, now, rule=RULE).outcome is DriftOutcome.STEADY


@pytest.mark.slow
@pytest.mark.parametrize("reference", [500, 20_000])
@pytest.mark.parametrize("rows", [500, 10_000])
def test_without_drift_less_than_one_per_cent_of_comparisons_give_an_alarm(reference: int, rows: int) -> None:
    rng = np.random.default_rng(reference + rows)
    runs = RUNS if max(reference, rows) == 500 else RUNS // 4
    outcomes = [compare_frames(draw(rng, reference), draw(rng, rows, now=True), rule=RULE).outcome for _ in range(runs)]
    alarms = np.mean([outcome is DriftOutcome.DRIFTED for outcome in outcomes])
    undecided = np.mean([outcome is DriftOutcome.INCONCLUSIVE for outcome in outcomes])
    assert alarms < 0.01
    assert undecided < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("rows", [500, 10_000])
def test_a_shift_of_0_8_standard_deviations_is_found_every_time(rows: int) -> None:
    rng = np.random.default_rng(rows)
    for _ in range(300):
        before = pd.DataFrame({"x": rng.normal(size=500), "y": rng.normal(size=500)})
        now = pd.DataFrame({"x": rng.normal(size=rows) + 0.8, "y": rng.normal(size=rows)})
        assert compare_frames(before, now, rule=RULE).drifted == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 48, 200])
def test_a_category_that_takes_a_fifth_of_the_rows_is_found_every_time(size: int) -> None:
    rng = np.random.default_rng(size)
    names = np.array([f"c{number}" for number in range(size)], dtype=object)
    for _ in range(300):
        before, now = (names[rng.choice(size, 500, p=tail(size, 1))] for _ in range(2))
        now[rng.random(500) < 0.2] = "new"
        assert compare_frames(pd.DataFrame({"x": before}), pd.DataFrame({"x": now}), rule=RULE).drifted == ["x"]


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_rows_even_in_a_single_row_group(tmp_path: Path) -> None:
    script = (
        "import re, sys; from pathlib import Path\n"
        "from sluice.drift.batches import open_rows\n"
        "from sluice.drift.profiles import count_rows\n"
        "from sluice.drift.references import freeze_reference\n"
        "frozen = freeze_reference(open_rows(Path(sys.argv[1])))\n"
        "assert count_rows(frozen, open_rows(Path(sys.argv[2]))).rows == int(sys.argv[3])\n"
        "print(re.search('VmHWM: *([0-9]+) kB', Path('/proc/self/status').read_text().replace('\\t', ' '))[1])\n"
    )
    rng = np.random.default_rng(1)
    used = []
    for rows in (100_000, 3_000_000):
        columns = {f"x{number}": rng.normal(size=rows) for number in range(8)} | {
            "zone": pa.array(["north", "south"] * (rows // 2))
        }
        file = tmp_path / f"{rows}.parquet"
        pq.write_table(pa.table(columns), file, row_group_size=rows)
        del columns
        command = [sys.executable, "-c", script, str(tmp_path / "100000.parquet"), str(file), str(rows)]
        used.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert used[1] < used[0] + 100_000  # kB; the columns alone are 190,000
