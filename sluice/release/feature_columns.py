"""The feature columns of a model, and the conversion of rows between JSON requests and pandas frames.

Packaging reads each column's kind and pandas type from the rows of the holdout, and the release stores them. A request is plain
JSON without pandas types, so the server needs the stored types to rebuild the frame that the model was fitted on.

This module needs only numpy and pandas, because the serving environment uses it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Cell = bool | int | float | str | None
"""One value in a row of a request."""

_LOADER_HINT = "Let the loader return numbers, texts, booleans, times or categories."
_CELL_HINT = "Correct the value. Use null for a missing value."
_SHOWN_NAMES, _NAME_LENGTH = 20, 100
_EXACT = 2.0**53
"""Below this limit a float represents every whole number exactly."""
_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
    "string": "text",
    "empty": "text",
    "datetime64": "time",
    "datetime": "time",
}
"""The type that pandas infers for an object column → the column's kind."""

_ACCEPTED: Mapping[str, tuple[frozenset[type], str]] = {
    "boolean": (frozenset({bool, int, float}), "true or false"),
    "integer": (frozenset({int, float}), "a number"),
    "number": (frozenset({int, float}), "a number"),
    "text": (frozenset({str}), "text"),
    "time": (frozenset({str}), "a time such as 2024-05-17T12:00:00"),
    "category": (frozenset({bool, int, float, str}), "a category"),
}
_NULL = type(None)
_PLAIN_TIMES = {"datetime64[us]": "M8[us]", "datetime64[ms]": "M8[ms]", "datetime64[s]": "M8[s]", "object": "M8[us]"}


@dataclass(frozen=True, slots=True)
class Column:
    """One feature column.

    Attributes:
        name: The column's name in the frame and in requests.
        kind: ``boolean``, ``integer``, ``number``, ``text``, ``time`` (ISO 8601 in requests) or ``category``.
        dtype: The pandas type that the model was fitted on.
        categories: The known categories if the kind is ``category``. As in pandas, any other value becomes missing.
        ordered: Whether the categories have an order.
    """

    name: str
    kind: str
    dtype: str
    categories: tuple[Cell, ...] = ()
    ordered: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the column as plain JSON types. `from_dict` reads them back."""
        plain = {"name": self.name, "kind": self.kind, "dtype": self.dtype}
        return plain | ({"categories": list(self.categories), "ordered": self.ordered} if self.kind == "category" else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """Read what `to_dict` returned."""
        return cls(**{**values, "categories": tuple(values.get("categories", ()))})


def read_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Read the columns of a frame of features.

    Raises:
        DataError: A column cannot be sent as JSON, or two columns have the same name.
    """
    if not frame.columns.is_unique:
        raise DataError("two feature columns have the same name", hint="Let the loader give every column a different name.")
    return tuple(_read_column(str(name), frame.iloc[:, position]) for position, name in enumerate(frame.columns))


def frame_to_rows(frame: pd.DataFrame) -> list[list[Cell]]:
    """Convert a frame to the rows of a request. Missing values become null, times ISO 8601, and numbers keep every digit.

    Raises:
        DataError: JSON cannot represent a value, for example infinity.
    """
    columns = [_column_to_cells(column, frame.iloc[:, position]) for position, column in enumerate(read_columns(frame))]
    return [list(row) for row in zip(*columns, strict=True)]


def rows_to_frame(names: Sequence[str], rows: Sequence[Sequence[Cell]], columns: Sequence[Column]) -> pd.DataFrame:
    """Convert the rows of a request to a frame with the columns, order and types that the model was fitted on.

    Args:
        names: The request's column names in any order.
        rows: The request's rows, with one cell per name.
        columns: The columns that the model was fitted on.

    Returns:
        A frame with one row per row of the request. An integer column with nulls becomes a column of floats.

    Raises:
        DataError: A column is missing, unknown or named twice, a row has a wrong length, or a cell has a wrong type.
    """
    places = _place_columns(names, columns)
    for number, row in enumerate(rows):
        if not isinstance(row, list | tuple):
            raise DataError(f"row {number} is not a list of values", hint="Send data.ndarray as a list of rows.")
        if len(row) != len(names):
            raise DataError(
                f"row {number} has {len(row)} values, but there are {len(names)} names",
                hint="Send one value per name. Use null for a missing value.",
            )
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    data = {column.name: _cells_to_array(column, cells[place]) for column, place in zip(columns, places, strict=True)}
    return pd.DataFrame(data, copy=False)


def _place_columns(names: Sequence[str], columns: Sequence[Column]) -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    expected = [column.name for column in columns]
    if len(places) == len(names) == len(expected) and all(name in places for name in expected):
        return [places[name] for name in expected]
    known, counts = set(expected), Counter(names)  # a client may send any number of names, so no list is searched for each
    missing = [name for name in expected if name not in places]
    unknown = [name for name in places if name not in known]
    twice = sorted(name for name, count in counts.items() if count > 1)
    faults = (("missing", missing), ("unknown", unknown), ("named twice", twice))
    text = "; ".join(f"{fault}: {_list_names(found)}" for fault, found in faults if found)
    raise DataError(
        f"the columns do not match the model's columns: {text}", hint=f"Send data.names with exactly: {', '.join(expected)}."
    )


def _list_names(names: Sequence[str]) -> str:
    """Return the first names of a list that may be long, each of limited length."""
    shown = [name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…" for name in names[:_SHOWN_NAMES]]
    more = [f"and {len(names) - _SHOWN_NAMES} more"] if len(names) > _SHOWN_NAMES else []
    return ", ".join([*shown, *more])


def _read_column(name: str, values: pd.Series[Any]) -> Column:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = tuple(_plain(value) for value in dtype.categories)
        return Column(name, "category", "category", categories, ordered=bool(dtype.ordered))
    if pd.api.types.is_bool_dtype(dtype):
        return Column(name, "boolean", str(dtype))
    if pd.api.types.is_integer_dtype(dtype):
        return Column(name, "integer", str(dtype))
    if pd.api.types.is_float_dtype(dtype):
        return Column(name, "number", str(dtype))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Column(name, "time", str(dtype))
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred not in _KINDS:
        raise DataError(
            f"feature column {name!r} contains {inferred} values, which a JSON request cannot represent",
            hint=_LOADER_HINT,
        )
    return Column(name, _KINDS[inferred], str(dtype))


def _column_to_cells(column: Column, values: pd.Series[Any]) -> list[Cell]:
    missing = values.isna().to_numpy()
    cells = [None if absent else _plain(value) for value, absent in zip(values.tolist(), missing, strict=True)]
    if any(isinstance(cell, float) and not math.isfinite(cell) for cell in cells):
        raise DataError(
            f"column {column.name!r} contains an infinite number, which JSON cannot represent",
            hint="Let the loader refuse infinite numbers.",
        )
    return cells


def _plain(value: object) -> Cell:
    """Return a value of a frame as a JSON type."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise DataError(f"JSON cannot represent the value {value!r}", hint=_LOADER_HINT)


def _cells_to_array(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    accepted, kind = _ACCEPTED[column.kind]
    if not accepted.issuperset(found := set(map(type, cells)) - {_NULL}):
        raise _wrong_cell(column, cells, lambda cell: type(cell) in accepted, kind)
    try:
        if column.kind in {"integer", "number"}:
            return _numbers(column, cells, whole=found <= {int})
        if column.kind == "boolean":
            return _booleans(column, cells)
        if column.kind == "time":
            return _times(column, cells)
    except (OverflowError, ValueError, TypeError) as error:
        raise DataError(f"column {column.name!r} must contain {kind}: {error}", hint=_CELL_HINT) from error
    if column.kind == "category":
        seen = [cell if cell in column.categories else None for cell in cells]
        return pd.Categorical(seen, categories=list(column.categories), ordered=column.ordered)
    if column.dtype == "object":  # a series, because a frame converts an object array to pandas' own text type
        return pd.Series(list(cells), dtype=object)
    dtype: Any = column.dtype
    return pd.array(list(cells), dtype=dtype)


def _numbers(column: Column, cells: Sequence[Cell], *, whole: bool) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    if column.kind == "integer" and whole and None not in cells:
        return _whole_numbers(column, cells)
    values: NDArray[np.float64] = np.array(list(cells), dtype=np.float64)  # None becomes NaN
    if np.isinf(values).any():
        raise _wrong_cell(column, cells, math.isfinite, "a finite number")
    if column.dtype == "object":
        return np.array(list(cells), dtype=object)
    if column.kind == "number":
        return pd.array(values, dtype=_pandas_type(column)) if _is_nullable(column) else values.astype(column.dtype, copy=False)
    present = values[~np.isnan(values)]
    exact = bool(np.all(present == np.trunc(present)) and np.all(np.abs(present) < _EXACT))
    if _is_nullable(column):
        return pd.array(values, dtype=_pandas_type(column) if exact else "Float64")
    return _whole_numbers(column, [int(value) for value in values]) if exact and present.size == values.size else values


def _whole_numbers(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    """Return whole numbers in the column's type, or in a wider type if they do not fit. They are never wrapped around."""
    if column.dtype == "object":
        return np.array(list(cells), dtype=object)
    values = np.array(list(cells), dtype=column.dtype.lower() if column.dtype.lower() == "uint64" else np.int64)
    if _is_nullable(column):
        return pd.array(values, dtype=_pandas_type(column))
    limits = np.iinfo(column.dtype)
    fits = not values.size or (limits.min <= int(values.min()) and int(values.max()) <= limits.max)
    return values.astype(column.dtype, copy=False) if fits else values


def _is_nullable(column: Column) -> bool:
    """Return whether the type is one of pandas' nullable number types, whose names begin with a capital letter."""
    return column.dtype[0].isupper()


def _pandas_type(column: Column) -> Any:  # noqa: ANN401 - the stubs require a literal
    return column.dtype


def _booleans(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    if not {0, 1, None}.issuperset(cells):
        raise _wrong_cell(column, cells, lambda cell: cell in {0, 1}, "true or false")
    values = [None if cell is None else bool(cell) for cell in cells]
    if column.dtype == "boolean":
        return pd.array(values, dtype="boolean")
    return np.array(values, dtype=object if None in values or column.dtype == "object" else bool)


def _times(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    if column.dtype in _PLAIN_TIMES:  # for one row this is ten times faster than pandas
        times = [None if cell is None else datetime.fromisoformat(str(cell)) for cell in cells]
        if any(time is not None and time.tzinfo is not None for time in times):
            raise ValueError("the time must have no offset from UTC")
        return np.array(times, dtype=_PLAIN_TIMES[column.dtype])
    values = pd.to_datetime(pd.Series(list(cells), dtype=object), format="ISO8601", utc="," in column.dtype)
    dtype: Any = column.dtype
    return values.astype(dtype).array


def _wrong_cell(column: Column, cells: Sequence[Cell], fits: Callable[[Any], bool], expected: str) -> DataError:
    row = next(number for number, cell in enumerate(cells) if cell is not None and not fits(cell))
    shown = repr(cells[row])
    shown = shown if len(shown) <= 60 else shown[:57] + "…"  # noqa: PLR2004 - the message must fit on a line
    return DataError(f"column {column.name!r} must contain {expected}, but row {row} has {shown}", hint=_CELL_HINT)
