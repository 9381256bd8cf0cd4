"""Search holdout rows in training data, against only reading both files: `python -m benchmarks.costs.overlaps check FOLDER`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from benchmarks.costs.processes import Comparison, add_comparison, call_module, compare_commands, measure_call
from sluice.data.labelled_rows import LabelledRows
from sluice.data.overlaps import find_overlap

COPIES = 50


def compare_costs(rows: int, *, rounds: int = 3) -> Comparison:
    """Measure reading with the check against reading alone, for this many training rows and a tenth of them in the holdout."""
    with tempfile.TemporaryDirectory(prefix="sluice-overlap-") as name:
        write_files(Path(name), rows)
        own, other = (call_module("benchmarks.costs.overlaps", way, name) for way in ("check", "read"))
        return compare_commands(own, other, rounds=rounds)


def show_overlap_costs(scale: float) -> Table:
    """Show CPU time and memory of reading two files and searching rows in common, relative to only reading them."""
    table = Table("training rows", "way", "CPU", "ratio", "MiB", title="Rows in common, 22 columns")
    for rows in (100_000, round(1_000_000 * min(1.0, max(scale, 0.2)))):
        add_comparison(table, f"{rows:,}", ("read and search", "read"), compare_costs(rows))
    return table


def write_files(folder: Path, rows: int) -> None:
    """Write training data and a holdout of 20 features. Some training rows are copies of holdout rows with new ids."""
    rng = np.random.default_rng(5)
    for name, count, first in (("holdout", rows // 10, 0), ("training", rows, rows)):
        frame = pd.DataFrame({f"f{number}": rng.normal(size=count).round(4) for number in range(14)})
        for number in range(4):
            frame[f"i{number}"] = rng.integers(0, 1_000, count)
        for number in range(2):
            frame[f"c{number}"] = np.array([f"category {one}" for one in range(30)])[rng.integers(0, 30, count)]
        frame["id"], frame["y"] = np.arange(first, first + count), (rng.random(count) < 0.2).astype(int)  # noqa: PLR2004 - one in five
        if name == "training":
            frame.iloc[:COPIES, :-2] = pd.read_parquet(folder / "holdout.parquet").iloc[:COPIES, :-2]
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def _read(folder: Path) -> tuple[LabelledRows, LabelledRows]:
    holdout, training = (pd.read_parquet(folder / f"{name}.parquet") for name in ("holdout", "training"))
    return _split(holdout), _split(training)


def _split(frame: pd.DataFrame) -> LabelledRows:
    labels, ids = frame["y"].to_numpy(np.int8), frame["id"].astype(object).to_numpy()
    return LabelledRows(frame=frame, features=frame.drop(columns=["id", "y"]), labels=labels, ids=ids)


def _main(way: str, folder: str) -> None:
    if way == "read":
        measure_call(lambda: _read(Path(folder)))
    else:
        measure_call(lambda: find_overlap(*_read(Path(folder))))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
