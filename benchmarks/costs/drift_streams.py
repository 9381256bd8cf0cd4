"""The section ``drift`` of `benchmarks.statistics`: drift of 20 columns in a large file, against reading the file, and Evidently.

Each measurement runs in a process of its own, which reports its processor time and its peak memory. The files are written in
parts to a temporary folder and removed at the end; at full scale, the CSV file takes 1.5 GB.

Evidently needs an environment of its own, because it does not import with pandas 3.1. Make one, and name its Python::

    uv venv /tmp/evidently && uv pip install --python /tmp/evidently/bin/python evidently 'pandas<3'
    EVIDENTLY_PYTHON=/tmp/evidently/bin/python python -m benchmarks.statistics drift
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.table import Table

from benchmarks.costs.processes import read_peak_memory
from sluice.drift.batches import open_rows
from sluice.drift.profiles import count_rows
from sluice.drift.references import DriftReference, freeze_reference
from sluice.statistics.psi import compare_counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.drift.batches import Rows

ROWS, REFERENCE_ROWS, EVIDENTLY_ROWS = 10_000_000, 200_000, 500_000
_PART_ROWS = 250_000
MOVED = {"f0": "0.8 SD", "f1": "outlier", "f2": "missing"}
"""The columns of the present file that differ from the reference: shifted, shifted by 1 SD with an outlier, half missing."""

EVIDENTLY_VARIABLE = "EVIDENTLY_PYTHON"
_EVIDENTLY = r"""
import json, re, sys, time
import pandas as pd
import evidently
from evidently import Report
from evidently.presets import DataDriftPreset
reference, present = (pd.read_parquet(path) for path in sys.argv[1:3])
start, wall = time.process_time(), time.perf_counter()
found = Report([DataDriftPreset(num_method="psi", cat_method="psi")]).run(present, reference).dict()["metrics"]
psi = {one["config"]["column"]: one["value"] for one in found if "column" in one["config"]}
cpu, seconds = time.process_time() - start, time.perf_counter() - wall
memory = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
found = {"cpu": cpu, "seconds": seconds, "rows": len(present), "psi": psi, "memory": memory, "version": evidently.__version__}
print(json.dumps(found))
"""


def show_drift(scale: float) -> Table:
    """Compare drift in 20 columns with reading the same file with pyarrow, and with Evidently on a smaller file."""
    columns = ("what", "rows", "CPU", "of read", "MiB", *MOVED.values())
    table = Table(*columns, title="Drift in 20 columns against a frozen reference")
    with tempfile.TemporaryDirectory(prefix="sluice-drift-") as name:
        folder = Path(name)
        reference = write_file(folder / "reference.parquet", REFERENCE_ROWS, seed=1, moved=False)
        rows = round(ROWS * scale)
        for suffix in ("parquet", "csv"):
            present = write_file(folder / f"present.{suffix}", rows, seed=2, moved=True)
            read = run_here("read", reference, present)
            _add_row(table, f"{suffix}, read", read, read["cpu"])
            _add_row(table, f"{suffix}, freeze", run_here("freeze", reference, present), read["cpu"])
            _add_row(table, f"{suffix}, drift", run_here("drift", reference, present), read["cpu"])
            present.unlink()
        small = write_file(folder / "small.parquet", round(EVIDENTLY_ROWS * scale), seed=3, moved=True)
        read = run_here("read", reference, small)
        _add_row(table, "parquet, drift", run_here("drift", reference, small), read["cpu"])
        evidently = run_evidently(reference, small)
        if evidently is None:
            table.add_row("Evidently: absent")
            table.caption = f"Evidently was not measured, because ${EVIDENTLY_VARIABLE} does not name a Python that has it."
        else:
            _add_row(table, f"Evidently {evidently['version']}", evidently, read["cpu"])
    return table


def _add_row(table: Table, what: str, found: dict[str, Any], reading: float) -> None:
    values = [f"{found['psi'][name]:.3f}" if found.get("psi") else "" for name in MOVED]
    numbers = (
        f"{found['rows'] / 1e6:g} M",
        f"{found['cpu']:.2f} s",
        f"{found['cpu'] / reading:.1f} x",
        f"{found['memory'] / 2**20:.0f}",
    )
    table.add_row(what, *numbers, *values)


def write_file(path: Path, rows: int, *, seed: int, moved: bool) -> Path:
    """Write rows of 13 floats, 4 whole numbers, a boolean, a category and a text that is different in each row, in parts.

    Args:
        path: A Parquet or CSV file; the suffix says which.
        rows: Number of rows.
        seed: Seed of the generator.
        moved: Whether the columns of `MOVED` differ from the reference.
    """
    rng = np.random.default_rng(seed)
    schema = _make_part(rng, 1, moved=moved).schema
    writer = pq.ParquetWriter(path, schema) if path.suffix == ".parquet" else pa_csv.CSVWriter(path, schema)
    with writer:
        for start in range(0, rows, _PART_ROWS):
            writer.write_table(_make_part(rng, min(_PART_ROWS, rows - start), moved=moved))
    return path


def _make_part(rng: np.random.Generator, rows: int, *, moved: bool) -> Any:  # noqa: ANN401 - pyarrow is untyped
    columns: dict[str, Any] = {}
    for number in range(13):
        values = rng.normal(size=rows).round(4)
        if moved and number == 0:
            values += 0.8
        elif moved and number == 1:
            values += 1.0
            values[0] = 1e6
        missing = rng.random(rows) < (0.5 if moved and number == 2 else 0.02)  # noqa: PLR2004 - the third column loses values
        columns[f"f{number}"] = pa.array(values, mask=missing)
    for number in range(4):
        columns[f"i{number}"] = pa.array(rng.integers(0, 1_000 * (number + 1), rows))
    columns["b0"] = pa.array(rng.random(rows) < 0.3)  # noqa: PLR2004 - any share will do
    names = pa.array([f"category {number}" for number in range(30)])
    columns["c0"] = names.take(pa.array(rng.integers(0, 30, rows)))
    numbers = pa.array(rng.integers(0, 1 << 40, rows)).cast(pa.string())
    columns["u0"] = pc.binary_join_element_wise("customer", numbers, "-")
    return pa.table(columns)


def run_here(what: str, reference: Path, present: Path) -> dict[str, Any]:
    """Run one measurement in a process of its own: ``read``, ``freeze`` or ``drift``."""
    command = [sys.executable, "-m", "benchmarks.costs.drift_streams", what, str(reference), str(present)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def run_evidently(reference: Path, present: Path) -> dict[str, Any] | None:
    """Run Evidently's drift report with PSI; None if the environment variable names no Python with Evidently."""
    python = os.environ.get(EVIDENTLY_VARIABLE)
    if not python:
        return None
    command = [python, "-W", "ignore", "-c", _EVIDENTLY, str(reference), str(present)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def read_file(path: Path) -> int:
    """Read all columns with pyarrow, batch by batch, and return the number of rows."""
    if path.suffix == ".csv":
        return sum(batch.num_rows for batch in pa_csv.open_csv(path))
    return sum(batch.num_rows for batch in pq.ParquetFile(path).iter_batches())


def measure_here(call: Callable[[], tuple[int, dict[str, float]]]) -> dict[str, Any]:
    """Call once, and return rows, PSI, processor time and seconds of the call, and the peak memory of this process in bytes."""
    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    rows, psi = call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - wall
    return {"rows": rows, "psi": psi, "cpu": cpu, "seconds": seconds, "memory": read_peak_memory()}


def freeze_file(path: Path) -> DriftReference:
    """Freeze the bins of a file."""
    return freeze_reference(_open(path))


def _open(path: Path) -> Rows:
    rows = open_rows(path)
    if rows is None:
        raise ValueError(f"{path} is neither Parquet nor CSV")
    return rows


def count_drift(reference: DriftReference, path: Path) -> tuple[int, dict[str, float]]:
    """Count a file in the bins of a reference, and return the number of rows and the index of each column."""
    profile = count_rows(reference, _open(path))
    return profile.rows, {
        name: compare_counts(column.bins, profile.counts[name]).psi for name, column in reference.columns.items()
    }


def main(what: str, reference: Path, present: Path) -> None:
    """Print one measurement as JSON. For ``drift``, the reference is frozen before, as a monitor has it."""
    if what == "read":
        found = measure_here(lambda: (read_file(present), {}))
    elif what == "freeze":
        found = measure_here(lambda: (freeze_file(present).rows, {}))
    else:
        frozen = freeze_file(reference)
        found = measure_here(lambda: count_drift(frozen, present))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
