"""Write some of the rows of a data file to a new file of the same format, without changing a value.

The values are not taken from the project's loader, because a loader may change them. So the new file has the columns, types and
texts of the old one, and the loader reads it in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sluice.data.external_errors import external_call
from sluice.data.overlaps import with_label
from sluice.data.row_contents import hash_rows
from sluice.data.row_sets import write_id
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows

_PARQUET = {".parquet", ".pq"}
_CSV = {".csv"}


def write_rows(source_file: Path, target: Path, *, key: str, ids: npt.NDArray[np.object_], source: str) -> None:
    """Copy the rows with these ids.

    Args:
        source_file: The file to copy from.
        target: The file to write. It has the same suffix.
        key: The column with the row's id, which must be in the file itself.
        ids: The ids of the rows to copy, as the project's loader returns them.
        source: The name of the file for messages.

    Raises:
        DataError: The format is neither Parquet nor CSV, the file has no such column, or not exactly one row for each id.
    """
    suffix = source_file.suffix
    if suffix not in _PARQUET | _CSV:
        raise DataError(
            f"rows of {source} cannot be copied, because its format {suffix or '(no suffix)'} is neither Parquet nor CSV",
            hint="Export the data as Parquet or CSV.",
        )
    with external_call(f"cannot copy rows of {source}", hint="Check the file and the free space, then try again."):
        if suffix in _PARQUET:
            _copy_parquet(source_file, target, key, ids, source)
        else:
            _copy_csv(source_file, target, key, ids, source)


def check_same_rows(expected: LabelledRows, found: LabelledRows) -> None:
    """Check that the loader reads from a new file exactly the rows that it read from the old one.

    Raises:
        DataError: An id, a label or a value differs, for example because the loader fills gaps with the mean of the file.
    """
    sides = []
    for rows in (expected, found):
        frame = with_label(rows)
        contents = hash_rows(frame, list(frame.columns))
        sides.append({write_id(value): content for value, content in zip(rows.ids, contents.tolist(), strict=True)})
    if sides[0] != sides[1]:
        differing = sum(sides[1].get(name) != content for name, content in sides[0].items())
        raise DataError(
            f"the loader reads other rows from the new file: {differing:,} of {len(expected):,} rows differ or are missing",
            hint="Let the loader read each row without regard to the others. What depends on several rows belongs in the model.",
        )


def _copy_parquet(source_file: Path, target: Path, key: str, ids: npt.NDArray[np.object_], source: str) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - it takes 0.1 s, and other commands do not need it

    table = pq.read_table(source_file)
    _require_column(key, table.column_names, source)
    picked = _find_rows(table.column(key).to_pylist(), ids, source)
    pq.write_table(table.take(picked), target)


def _copy_csv(source_file: Path, target: Path, key: str, ids: npt.NDArray[np.object_], source: str) -> None:
    frame = pd.read_csv(source_file, dtype=str, keep_default_na=False, na_filter=False)
    _require_column(key, list(frame.columns), source)
    picked = _find_rows(frame[key].tolist(), ids, source)
    frame.iloc[picked].to_csv(target, index=False, lineterminator="\n")


def _require_column(key: str, names: Sequence[str], source: str) -> None:
    if key not in names:
        raise DataError(
            f"{source} has no column {key!r}, so its rows cannot be found by id",
            hint="Export the id in that column. A loader that makes the id itself cannot be used for this.",
        )


def _find_rows(keys: Sequence[object], ids: npt.NDArray[np.object_], source: str) -> npt.NDArray[np.int64]:
    """Return the places of the rows with these ids, in the order of the file."""
    wanted = {write_id(value) for value in ids}
    places = [place for place, value in enumerate(keys) if value is not None and write_id(value) in wanted]
    if len(places) != len(wanted):
        raise DataError(
            f"{source} has {len(places):,} rows with the {len(wanted):,} ids that the loader returned",
            hint="Let the loader return each id as it is in the file.",
        )
    return np.array(places, dtype=np.int64)
