"""Load the warehouse's export as a DataFrame, and check its contract: columns, types, ids and labels.

The values themselves (their sets, ranges and shares) are checked by layer 2, in `churn.expectations`. If the loader rejected
every wrong value, that layer would have nothing to report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "customer_id"
LABEL = "churned"
NUMBERS = ("tenure_months", "monthly_spend", "usage_hour")
FLAGS = ("is_enterprise",)
TEXTS = ("contract_type", "signup_date", "last_login_at", "acquisition_channel")
FEATURES = (
    "tenure_months",
    "monthly_spend",
    "contract_type",
    "is_enterprise",
    "signup_date",
    "last_login_at",
    "usage_hour",
    "acquisition_channel",
)
"""The columns that a model may use, in the order of the export. `FLAGS` are never missing, and the others may be."""

COLUMNS = (ID, *FEATURES, LABEL)

_FLAG_TEXTS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_MAX_EXAMPLES = 3


class ChurnDataError(DataError, ValueError):
    """An export breaks its contract. The message names the column, and the number of rows or the values."""


class ExportMissingError(DataError, FileNotFoundError):
    """The file of the export does not exist."""


def load_churn_data(path: str | Path) -> pd.DataFrame:
    """Read an export and check its contract.

    Args:
        path: A Parquet or CSV file. The ending says which.

    Returns:
        One row per customer, with the columns of `COLUMNS` in that order and no others: customer_id (text), tenure_months,
        monthly_spend and usage_hour (float, NaN if missing), contract_type, signup_date, last_login_at and acquisition_channel
        (text), is_enterprise (bool), churned (0 or 1, int64).

    Raises:
        ExportMissingError: The file does not exist. (It is also a FileNotFoundError.)
        ChurnDataError: The file cannot be read, has no rows, lacks a column, has missing or repeated ids, labels other than 0 and
            1, or values of another type. (It is also a ValueError.)
    """
    frame = read_export(path)
    name = Path(path).name
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns))
        raise ChurnDataError(
            f"{name}: required column{'s' if len(missing) > 1 else ''} missing: {', '.join(missing)}; the file has {found}",
            hint="Export every column of the contract under its name.",
        )
    if frame.empty:
        raise ChurnDataError(f"{name}: the export has no rows", hint="Check why the export is empty, and export it again.")
    checked = {ID: _check_ids(frame[ID], name)}
    checked |= {column: _read_numbers(frame[column], name) for column in NUMBERS}
    checked |= {column: _read_flags(frame[column], name) for column in FLAGS}
    checked |= {column: _read_texts(frame[column], name) for column in TEXTS}
    checked[LABEL] = _check_labels(frame[LABEL], name)
    return pd.DataFrame({column: checked[column] for column in COLUMNS}).reset_index(drop=True)


def read_export(path: str | Path) -> pd.DataFrame:
    """Read an export, and check only that it can be read. Layer 2 uses this.

    Raises:
        ExportMissingError: The file does not exist.
        ChurnDataError: The file is not valid Parquet or CSV, whichever its ending says.
    """
    file = Path(path)
    if not file.is_file():
        raise ExportMissingError(
            f"{file}: there is no such file",
            hint="Name an existing export, or create the example's data with `python -m churn.simulation --all`.",
        )
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".csv": _read_csv}
    if file.suffix not in readers:
        raise ChurnDataError(
            f"{file.name}: the name of an export ends in .parquet or .csv", hint="Rename the file according to its format."
        )
    try:
        return readers[file.suffix](file)
    except ImportError as error:
        raise ChurnDataError(
            f"{file.name}: this environment cannot read {file.suffix[1:]} files", hint="Install pyarrow."
        ) from error
    except (OSError, ValueError) as error:  # pyarrow and pandas' CSV parser raise only these two
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ChurnDataError(
            f"{file.name}: cannot be read as {file.suffix[1:]}: {reason}",
            hint="Export the data again. The file may be truncated.",
        ) from error


def _read_csv(file: Path) -> pd.DataFrame:
    """Read a CSV file. Ids and texts stay text, because ``007`` is not 7."""
    return pd.read_csv(file, dtype=dict.fromkeys((ID, *TEXTS), "str"))


def _check_ids(column: pd.Series, name: str) -> pd.Series:
    """Return the ids as text."""
    _require_none(column, column.isna(), name, "is null")
    _require_none(column, column.duplicated(), name, "repeats an id")
    return column.astype("str")


def _check_labels(column: pd.Series, name: str) -> pd.Series:
    """Return the labels as int64."""
    _require_none(column, column.isna(), name, "is null")
    _require_none(column, ~column.isin([0, 1]), name, "is neither 0 nor 1")
    return column.astype("int64")


def _read_numbers(column: pd.Series, name: str) -> pd.Series:
    """Return numbers as float64, NaN if missing."""
    is_flag = column.map(lambda value: isinstance(value, bool))
    numbers = pd.to_numeric(column.mask(is_flag), errors="coerce")
    _require_none(
        column, (numbers.isna() & column.notna()) | numbers.isin([float("inf"), -float("inf")]), name, "is not a number"
    )
    return numbers.astype("float64")


def _read_flags(column: pd.Series, name: str) -> pd.Series:
    """Return flags as bool."""
    flags = column.map(lambda value: _FLAG_TEXTS.get(str(value).strip().lower()))
    _require_none(column, flags.isna(), name, "is neither true nor false")
    return flags.astype("bool")


def _read_texts(column: pd.Series, name: str) -> pd.Series:
    """Return texts as pandas' text type. Missing texts stay missing."""
    _require_none(column, column.notna() & ~column.map(lambda value: isinstance(value, str)), name, "is not text")
    return column.astype("str")


def _require_none(column: pd.Series, wrong: pd.Series, name: str, what: str) -> None:
    """Raise an error with the column, the number of wrong rows and the first wrong values.

    Raises:
        ChurnDataError: At least one row is wrong.
    """
    count = int(wrong.sum())
    if count == 0:
        return
    values = ", ".join(repr(value) for value in column[wrong].astype(object).drop_duplicates().head(_MAX_EXAMPLES))
    first = int(wrong.to_numpy().argmax())
    raise ChurnDataError(
        f"{name}: {column.name} {what} in {count:,} of {len(column):,} rows (first in row {first:,}): {values}",
        hint="Correct the export. Rows are counted from 0.",
    )
