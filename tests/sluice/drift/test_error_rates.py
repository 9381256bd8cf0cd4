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

from benchmarks.drift_columns import RULE, count_found_shifts, count_outcomes, tail
from sluice.drift.comparisons import DriftOutcome, compare_frames

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 2_000


def test_long_tailed_categories_give_no_alarm_in_100_comparisons_without_drift() -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"c{number}" for number in range(48)], dtype=object)
    for _ in range(100):
        before, now = (
            pd.DataFrame({f"x{place}": rng.choice(names, 500, p=tail(48, 2)) for place in range(10)}) for _ in range(2)
        )
        assert compare_frames(before, now, rule=RULE).outcome is DriftOutcome.STEADY


@pytest.mark.slow
def test_names_that_are_all_new_give_no_alarm_in_100_comparisons_without_drift() -> None:
    """Five columns have a name of its own in each row, and five have some of 3,000 names more often than others."""
    rng = np.random.default_rng(1)

    def draw() -> pd.DataFrame:
        new = {f"new{place}": [f"customer {number}" for number in rng.integers(0, 10**9, 2_500)] for place in range(5)}
        known = {f"known{place}": [f"n{number}" for number in rng.choice(3_000, 2_500, p=tail(3_000, 0.5))] for place in range(5)}
        return pd.DataFrame({**new, **known, "constant": 1.0})

    for _ in range(100):
        result = compare_frames(draw(), draw(), rule=RULE)
        assert (result.outcome, len(result.in_part)) == (DriftOutcome.STEADY, 10)


@pytest.mark.slow
@pytest.mark.parametrize("reference", [500, 20_000])
@pytest.mark.parametrize("rows", [500, 10_000])
def test_without_drift_less_than_one_per_cent_of_comparisons_give_an_alarm(reference: int, rows: int) -> None:
    runs = RUNS if max(reference, rows) == 500 else RUNS // 4
    outcomes = count_outcomes(reference, rows, runs, seed=reference + rows)
    assert outcomes[DriftOutcome.DRIFTED] < 0.01 * runs
    assert outcomes[DriftOutcome.INCONCLUSIVE] < 0.01 * runs


@pytest.mark.slow
@pytest.mark.parametrize("rows", [500, 10_000])
def test_a_shift_of_0_8_standard_deviations_is_found_every_time(rows: int) -> None:
    assert count_found_shifts(rows, 300, shift=0.8, seed=rows) == 300


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
