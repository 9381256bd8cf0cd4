"""Exports of the simulated customers, in the shape of a real warehouse: what the example trains on and is judged by.

The same rows and seed give the same bytes each time, under the locked versions of numpy and pyarrow.

Command: ``python -m churn.simulation --all`` writes data/customers.parquet and data/holdout.parquet;
``python -m churn.simulation --rows N --seed S OUT.parquet [--fault NAME]`` writes one export.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from churn.customers import simulate_customers
from churn.faults import FAULTS, find_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

DATA_FOLDER = Path("data")
SNAPSHOT_NAME, HOLDOUT_NAME = "customers.parquet", "holdout.parquet"
SNAPSHOT_ROWS, HOLDOUT_ROWS = 20_000, 20_000
SNAPSHOT_SEED, HOLDOUT_SEED = 20_260_301, 20_260_313
"""The holdout's seed is one that draws a typical sample: its parts have about the AUC that the truth allows."""


def make_export(rows: int, seed: int, *, fault: str | None = None) -> pd.DataFrame:
    """An export, with one of the known faults where one is named.

    Raises:
        ValueError: There is no such fault, or `rows` is below 1.
    """
    return find_fault(fault).make(rows, seed) if fault else simulate_customers(rows, seed)


def write_snapshot(folder: Path, *, fault: str | None = None) -> Path:
    """Write the training data of the example into a folder; gives its path.

    Raises:
        ValueError: There is no such fault.
    """
    path = folder / SNAPSHOT_NAME
    write_export(make_export(SNAPSHOT_ROWS, SNAPSHOT_SEED, fault=fault), path)
    return path


def write_example_data(folder: Path) -> None:
    """Write the snapshot and the holdout of the example into a folder: the same bytes each time."""
    write_snapshot(folder)
    write_export(make_export(HOLDOUT_ROWS, HOLDOUT_SEED), folder / HOLDOUT_NAME)


def write_export(frame: pd.DataFrame, path: Path) -> None:
    """Write an export as Parquet or CSV, by the file's ending: whole or not at all, equal frames as equal bytes.

    Raises:
        OSError: The file cannot be written.
        ValueError: The ending is neither .parquet nor .csv.
    """
    writers = {".parquet": _write_parquet, ".csv": _write_csv}
    if path.suffix not in writers:
        raise ValueError(f"{path.name}: an export ends in .parquet or .csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        writers[path.suffix](frame, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    # Imported here, since what travels in a release and the story's live rows need no Parquet.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    # No compression and no schema of pandas' own: both would tie the bytes to more than pyarrow's version.
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
    pq.write_table(pa.table(columns), path, compression="none", store_schema=False)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m churn.simulation", description="Write exports of simulated customers.")
    parser.add_argument("out", nargs="?", type=Path, help="file to write, .parquet or .csv")
    parser.add_argument("--all", action="store_true", help=f"write the example's own data into {DATA_FOLDER}/")
    parser.add_argument("--rows", type=int, default=SNAPSHOT_ROWS, help="number of customers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SNAPSHOT_SEED, help="seed of the generator (default: %(default)s)")
    parser.add_argument("--fault", choices=list(FAULTS), help="a known fault that the export gets")
    chosen = parser.parse_args(arguments)
    if chosen.all == (chosen.out is not None):
        parser.error("name the file to write, or --all for the example's own data")
    if chosen.all and chosen.fault:
        parser.error("--all writes the example's data without faults; name a file to get one with a fault")
    if chosen.rows < 1:
        parser.error("--rows must be at least 1")
    try:
        if chosen.all:
            write_example_data(DATA_FOLDER)
        else:
            write_export(make_export(chosen.rows, chosen.seed, fault=chosen.fault), chosen.out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
