"""Hash the contents of rows, so that a copy of a row is found even if it has a new id and was written in another format.

Two rows have the same content if their values are equal in the sense of this module, whatever the columns' order and types are:

- A number is the same number as an integer, a float, a Decimal, a boolean (0 and 1) or a text of digits. Fractions are compared
  with the precision of float32, because an export may have stored them with it.
- A date or time is the same moment as a datetime, a date or a text in ISO 8601. A time without a zone counts as UTC.
- None, NaN, NaT, pandas.NA and an empty text are all missing values.
- Any other value is compared by its text, without spaces around it.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

CHUNK_ROWS = 1 << 18
"""The number of rows that are hashed at once. With more rows, a column of texts has fewer chunks in which it is encoded."""

_BLOCK_ROWS = 1 << 15  # the temporary arrays of so many numbers fit into a processor's cache, which is several times faster

_FIRST_ROWS = 2000  # A column whose first rows are neither equal nor all different is not looked at further.

_MISSING = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # an odd constant of MurmurHash3's finaliser
_SHIFT = np.uint64(32)
_NUMBERS = (bool, int, float, Decimal, np.number, np.bool_)
_TIMES = (dt.date, np.datetime64)
_ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ].*)?"
_TRUTHS = {"true": 1.0, "false": 0.0}


def hash_rows(frame: pd.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hash the content of each row.

    Args:
        frame: The rows.
        columns: The columns that count, in any order. Each must be in the frame.

    Returns:
        One hash for each row, shape (rows,). Two different contents have the same hash with a probability of about 2**-64.
    """
    hashes = np.zeros(len(frame), dtype=np.uint64)
    ordered = [frame[name] for name in sorted(set(columns))]
    for start in range(0, len(frame), CHUNK_ROWS):
        part = hashes[start : start + CHUNK_ROWS]
        for column in ordered:
            part ^= _hash_column(column.iloc[start : start + CHUNK_ROWS])
            part *= _MIX
            part ^= part >> _SHIFT
    return hashes


def find_file_columns(left: pd.DataFrame, right: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return the columns that belong to a file and not to what its rows describe: with them, no copy of a row has equal content.

    Such a column has one value in all rows of a side and not the same one on the other side, as the date of an export. Or it is
    different in every row of both sides and neither a fraction nor a time, as the number of the row.

    Args:
        left: The rows of one side.
        right: The rows of the other side.
        columns: The columns to judge. Each must be in both frames.
    """
    return [name for name in columns if _is_of_file(left[name], right[name])]


def _is_of_file(left: pd.Series[Any], right: pd.Series[Any]) -> bool:
    sides = (left, right)
    if min(len(side) for side in sides) <= 1:
        return False
    constant = [_count_first(side) == 1 and _count_values(side) == 1 for side in sides]
    if any(constant):
        return not all(constant) or _hash_column(left.iloc[:1])[0] != _hash_column(right.iloc[:1])[0]
    if any(pd.api.types.is_datetime64_any_dtype(side.dtype) for side in sides):
        return False
    return all(_count_first(side) == len(side.iloc[:_FIRST_ROWS]) and not _has_fractions(side) for side in sides) and all(
        _count_values(side) == len(side) for side in sides
    )


def _count_first(column: pd.Series[Any]) -> int:
    return len(np.unique(_hash_column(column.iloc[:_FIRST_ROWS])))


def _count_values(column: pd.Series[Any]) -> int:
    return len(np.unique(hash_rows(column.to_frame("value"), ["value"])))


def _has_fractions(column: pd.Series[Any]) -> bool:
    numbers = pd.to_numeric(column.iloc[:_FIRST_ROWS].astype(object).map(str), errors="coerce").to_numpy(dtype=np.float64)
    return bool((np.isfinite(numbers) & (numbers != np.rint(numbers))).any())


def _hash_column(column: pd.Series[Any]) -> npt.NDArray[np.uint64]:
    """Return one hash for each value of a column."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return _look_up(column.cat.codes.to_numpy(), _hash_values(kind.categories))
    if pd.api.types.is_bool_dtype(kind) or (pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)):
        return _hash_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(kind):
        return _hash_times(pd.DatetimeIndex(column))
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # a value such as a list or a dict has no hash of its own
        codes, values = pd.factorize(column.map(repr, na_action="ignore"))
    return _look_up(codes, _hash_values(pd.Index(values)))


def _look_up(codes: npt.NDArray[Any], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hash of each code's value. The code of a missing value is -1, so it finds the last element."""
    return cast("npt.NDArray[np.uint64]", np.append(hashes, _MISSING)[codes])


def _hash_numbers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    hashes = np.empty(len(values), dtype=np.uint64)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(values), _BLOCK_ROWS):
            block = values[start : start + _BLOCK_ROWS]
            whole = block == np.rint(block)
            kept = np.where(whole, block, block.astype(np.float32)) + 0.0  # the addition turns -0.0 into 0.0
            hashes[start : start + _BLOCK_ROWS] = np.where(np.isnan(block), _MISSING, kept.view(np.uint64))
    return hashes


def _hash_times(values: pd.DatetimeIndex) -> npt.NDArray[np.uint64]:
    moments = values.tz_convert(None) if values.tz is not None else values
    hashes = moments.as_unit("us").asi8.view(np.uint64) ^ _MIX  # so that a moment is not the number of its microseconds
    hashes[moments.isna()] = _MISSING
    return cast("npt.NDArray[np.uint64]", hashes)


def _hash_values(values: pd.Index[Any]) -> npt.NDArray[np.uint64]:
    """Return the hash of each of a column's different values, which may be of any type."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _hash_numbers(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _hash_times(pd.DatetimeIndex(values))
    hashes = np.full(len(values), _MISSING)
    plain = values.astype(object).to_numpy()
    if pd.api.types.infer_dtype(plain, skipna=True) == "string":  # by far the most frequent case, so it has no loop in Python
        present = ~pd.isna(plain)
        hashes[present] = _hash_texts(pd.Series(plain[present], dtype=object).str.strip())
        return hashes
    numbers = np.fromiter((isinstance(value, _NUMBERS) for value in plain), dtype=bool, count=len(plain))
    times = np.fromiter((isinstance(value, _TIMES) for value in plain), dtype=bool, count=len(plain))
    texts = ~(numbers | times | pd.isna(plain))
    hashes[numbers] = _hash_numbers(np.array([float(value) for value in plain[numbers]], dtype=np.float64))
    hashes[times] = _hash_times(_read_times(pd.Series(plain[times], dtype=object).astype(str)))
    hashes[texts] = _hash_texts(pd.Series([_write_text(value) for value in plain[texts]], dtype=object))
    return hashes


def _write_text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.strip()


def _hash_texts(texts: pd.Series[Any]) -> npt.NDArray[np.uint64]:
    """Return the hash of each text. A text that is written as a number, a truth value or a time has the hash of that value."""
    hashes = pd.util.hash_array(texts.to_numpy(dtype=object), categorize=False)
    numbers = pd.to_numeric(texts, errors="coerce").fillna(texts.str.lower().map(_TRUTHS)).to_numpy(dtype=np.float64)
    hashes = np.where(np.isnan(numbers), hashes, _hash_numbers(numbers))
    dated = texts.str.fullmatch(_ISO_DATE).to_numpy(dtype=bool)
    if dated.any():
        moments = _read_times(texts[dated])
        hashes[dated] = np.where(moments.isna(), hashes[dated], _hash_times(moments))
    hashes[(texts == "").to_numpy(dtype=bool)] = _MISSING
    return hashes


def _read_times(texts: pd.Series[Any]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True))
