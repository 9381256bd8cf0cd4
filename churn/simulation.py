"""Write exports of simulated customers in the format of a real warehouse. The example is trained and tested on them.

With the locked versions of numpy and pyarrow, the same number of rows and the same seed always give the same bytes.

Commands: ``python -m churn.simulation --all`` writes data/customers.parquet and data/holdout.parquet. ``python -m
churn.simulation --rows N --seed S OUT.parquet [--fault NAME]`` writes one export.
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
"""The seeds of the snapshot and the holdout.

The seed of the holdout draws a typical sample: both of its parts have about the AUC that the ground truth allows.
"""


def make_export(rows: int, seed: int, *, fault: str | None = None) -> pd.DataFrame:
    """Return an export. If a fault is named, the export has it.

    Raises:
        ValueError: There is no such fault, or `rows` is below 1.
    """
    return find_fault(fault).make(rows, seed) if fault else simulate_customers(rows, seed)


def write_snapshot(folder: Path, *, fault: str | None = None) -> Path:
    """Write the training data of the example to a folder, and return the path of the file.

    Raises:
        ValueError: There is no such fault.
    """
    path = folder / SNAPSHOT_NAME
    write_export(make_export(SNAPSHOT_ROWS, SNAPSHOT_SEED, fault=fault), path)
    return path


def write_example_data(folder: Path) -> None:
    """Write the snapshot and the holdout of the example to a folder. The bytes are always the same."""
    write_snapshot(folder)
    write_export(make_export(HOLDOUT_ROWS, HOLDOUT_SEED), folder / HOLDOUT_NAME)


def write_export(frame: pd.DataFrame, path: Path) -> None:
    """Write an export as Parquet or CSV, depending on the file's ending. Equal frames give equal bytes.

    The file is written completely or not at all.

    Raises:
        OSError: The file cannot be written.
        ValueError: The ending is neither .parquet nor .csv.
    """
    writers = {".parquet": _write_parquet, ".csv": _write_csv}
    if path.suffix not in writers:
        raise ValueError(f"{path.name}: the name of an export ends in .parquet or .csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        writers[path.suffix](frame, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    # pyarrow is imported here, because neither a release nor the story's live rows need it.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    # There is no compression and no schema of pandas, because then the bytes would depend on more than pyarrow's version.
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
    pq.write_table(pa.table(columns), path, compression="none", store_schema=False)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m churn.simulation", description="Write exports of simulated customers.")
    parser.add_argument("out", nargs="?", type=Path, help="the file to write, .parquet or .csv")
    parser.add_argument("--all", action="store_true", help=f"write the data of the example to {DATA_FOLDER}/")
    parser.add_argument("--rows", type=int, default=SNAPSHOT_ROWS, help="number of customers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SNAPSHOT_SEED, help="seed of the generator (default: %(default)s)")
    parser.add_argument("--fault", choices=list(FAULTS), help="a known fault for the export")
    chosen = parser.parse_args(arguments)
    if chosen.all == (chosen.out is not None):
        parser.error("name the file to write, or use --all for the data of the example")
    if chosen.all and chosen.fault:
        parser.error("--all writes the data of the example without faults; name a file to write an export with a fault")
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
