"""Rows as JSON and as a frame: how a request becomes what the model was fitted with, and the other way round.

A column's kind and type are read once, from the rows that the release is packaged with, and travel in the release: a request is
plain JSON and knows nothing of pandas.

Needs numpy and pandas alone: the serving environment reads requests with it.
"""

from __future__ import annotations

import math
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
"""What a request may hold at one place."""

_LOADER_HINT = "Let the loader give numbers, texts, true or false, times or categories."
_CELL_HINT = "Correct the value; null means missing."
_EXACT = 2.0**53
"""Floats below it hold every whole number."""
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
"""What pandas infers of an object column → kind."""

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
        name: Its name in the frame and in requests.
        kind: ``boolean``, ``integer``, ``number``, ``text``, ``time`` (ISO 8601 in requests) or ``category``.
        dtype: The pandas type that the model was fitted with.
        categories: The categories of a ``category``; anything else becomes missing, as pandas has it.
        ordered: Whether they have an order.
    """

    name: str
    kind: str
    dtype: str
    categories: tuple[Cell, ...] = ()
    ordered: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
        plain = {"name": self.name, "kind": self.kind, "dtype": self.dtype}
        return plain | ({"categories": list(self.categories), "ordered": self.ordered} if self.kind == "category" else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "categories": tuple(values.get("categories", ()))})


def read_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """The columns of a frame of features.

    Raises:
        DataError: A column cannot be sent as JSON, or two have one name.
    """
    if not frame.columns.is_unique:
        raise DataError("two feature columns have the same name", hint="Let the loader give every column a name of its own.")
    return tuple(_read_column(str(name), frame.iloc[:, position]) for position, name in enumerate(frame.columns))


def frame_to_rows(frame: pd.DataFrame) -> list[list[Cell]]:
    """A frame's rows as a request holds them: missing values are null, times are ISO 8601, numbers keep every digit.

    Raises:
        DataError: A value has no form in JSON, such as infinity.
    """
    columns = [_column_to_cells(column, frame.iloc[:, position]) for position, column in enumerate(read_columns(frame))]
    return [list(row) for row in zip(*columns, strict=True)]


def rows_to_frame(names: Sequence[str], rows: Sequence[Sequence[Cell]], columns: Sequence[Column]) -> pd.DataFrame:
    """The frame of a request, with the model's columns, order and types.

    Args:
        names: The request's column names, any order.
        rows: Its rows, one cell per name.
        columns: What the model was fitted with.

    Returns:
        One row each, the model's columns in the model's order. A whole-number column with nulls is of floats.

    Raises:
        DataError: A column is missing, unknown or named twice, a row has another length, or a cell is not of its column's kind.
    """
    places = _place_columns(names, columns)
    for number, row in enumerate(rows):
        if not isinstance(row, list | tuple):
            raise DataError(f"row {number} is no list of values", hint="Send data.ndarray as a list of rows.")
        if len(row) != len(names):
            raise DataError(
                f"row {number} has {len(row)} values for {len(names)} names", hint="Send one value per name, or null."
            )
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    data = {column.name: _cells_to_array(column, cells[place]) for column, place in zip(columns, places, strict=True)}
    return pd.DataFrame(data, copy=False)


def _place_columns(names: Sequence[str], columns: Sequence[Column]) -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    wanted = [column.name for column in columns]
    if len(places) == len(names) == len(wanted) and all(name in places for name in wanted):
        return [places[name] for name in wanted]
    missing = [name for name in wanted if name not in places]
    unknown = [name for name in places if name not in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = (("missing", missing), ("unknown", unknown), ("named twice", twice))
    text = "; ".join(f"{fault}: {', '.join(found)}" for fault, found in faults if found)
    raise DataError(f"the columns do not fit the model; {text}", hint=f"Send data.names with exactly: {', '.join(wanted)}.")


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
            f"feature column {name!r} holds {inferred} values, which a request cannot carry",
            hint=_LOADER_HINT,
        )
    return Column(name, _KINDS[inferred], str(dtype))


def _column_to_cells(column: Column, values: pd.Series[Any]) -> list[Cell]:
    missing = values.isna().to_numpy()
    cells = [None if absent else _plain(value) for value, absent in zip(values.tolist(), missing, strict=True)]
    if any(isinstance(cell, float) and not math.isfinite(cell) for cell in cells):
        raise DataError(
            f"column {column.name!r} holds an infinite number, which JSON cannot carry", hint="Let the loader refuse it."
        )
    return cells


def _plain(value: object) -> Cell:
    """A value of a frame as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise DataError(f"{value!r} has no form in JSON", hint=_LOADER_HINT)


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
        raise DataError(f"column {column.name!r} wants {kind}: {error}", hint=_CELL_HINT) from error
    if column.kind == "category":
        seen = [cell if cell in column.categories else None for cell in cells]
        return pd.Categorical(seen, categories=list(column.categories), ordered=column.ordered)
    if column.dtype == "object":  # a series, since a frame makes its own text type of an object array
        return pd.Series(list(cells), dtype=object)
    wanted: Any = column.dtype
    return pd.array(list(cells), dtype=wanted)


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
    """Whole numbers in the column's type; in a wider one where they do not fit it, never wrapped around."""
    if column.dtype == "object":
        return np.array(list(cells), dtype=object)
    values = np.array(list(cells), dtype=column.dtype.lower() if column.dtype.lower() == "uint64" else np.int64)
    if _is_nullable(column):
        return pd.array(values, dtype=_pandas_type(column))
    limits = np.iinfo(column.dtype)
    fits = not values.size or (limits.min <= int(values.min()) and int(values.max()) <= limits.max)
    return values.astype(column.dtype, copy=False) if fits else values


def _is_nullable(column: Column) -> bool:
    """Whether it is one of pandas' own number types, which are written with a capital."""
    return column.dtype[0].isupper()


def _pandas_type(column: Column) -> Any:  # noqa: ANN401 - the stubs want a literal
    return column.dtype


def _booleans(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    if not {0, 1, None}.issuperset(cells):
        raise _wrong_cell(column, cells, lambda cell: cell in {0, 1}, "true or false")
    values = [None if cell is None else bool(cell) for cell in cells]
    if column.dtype == "boolean":
        return pd.array(values, dtype="boolean")
    return np.array(values, dtype=object if None in values or column.dtype == "object" else bool)


def _times(column: Column, cells: Sequence[Cell]) -> Any:  # noqa: ANN401 - an array of numpy or of pandas
    if column.dtype in _PLAIN_TIMES:  # ten times faster than pandas for one row
        times = [None if cell is None else datetime.fromisoformat(str(cell)) for cell in cells]
        if any(time is not None and time.tzinfo is not None for time in times):
            raise ValueError("a time without offset from UTC is expected")
        return np.array(times, dtype=_PLAIN_TIMES[column.dtype])
    values = pd.to_datetime(pd.Series(list(cells), dtype=object), format="ISO8601", utc="," in column.dtype)
    wanted: Any = column.dtype
    return values.astype(wanted).array


def _wrong_cell(column: Column, cells: Sequence[Cell], fits: Callable[[Any], bool], wanted: str) -> DataError:
    row = next(number for number, cell in enumerate(cells) if cell is not None and not fits(cell))
    shown = repr(cells[row])
    shown = shown if len(shown) <= 60 else shown[:57] + "…"  # noqa: PLR2004 - what fits a line
    return DataError(f"column {column.name!r} wants {wanted}, row {row} has {shown}", hint=_CELL_HINT)
