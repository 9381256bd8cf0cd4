"""A sample of the present rows as the champion's inputs, so that the distribution of its scores can be compared.

The cells become a frame as those of a request do when the release is served, so that a number in a text column is refused here
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.drift.columns import Kind, classify_type, read_numbers
from sluice.drift.samples import draw_sample
from sluice.errors import DataError
from sluice.release.feature_columns import rows_to_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sluice.drift.batches import Rows
    from sluice.release.feature_columns import Cell, Column

MOST_SCORED = 20_000
"""Largest number of rows that are scored. More rows would not make the comparison better, and scoring them takes time."""

_KINDS = {"boolean": Kind.NUMBER, "integer": Kind.NUMBER, "number": Kind.NUMBER, "text": Kind.CATEGORY}
_HINT = "Name a function in drift.load that returns the columns of the model, or compare without --scores."


def sample_inputs(rows: Rows, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a random sample of at most 20,000 rows with the columns and types that the model was fitted on.

    Args:
        rows: The present rows.
        columns: The columns of the model.

    Raises:
        DataError: A column is missing or has values that the model cannot use, or there are no rows.
    """
    names = [column.name for column in columns]
    missing = [name for name in names if name not in rows.types]
    if missing:
        raise DataError(f"{rows.source} has no column {missing[0]!r}, which the champion needs", hint=_HINT)
    kinds = {column.name: _KINDS[column.kind] for column in columns if column.kind in _KINDS}
    sample = draw_sample(rows, names, most=MOST_SCORED, kinds=kinds)
    if not sample.rows:
        raise DataError(f"{rows.source} has no rows", hint="Check the source of the file. An empty export has usually failed.")
    cells: list[list[Cell]] = []
    for name in names:
        if name in sample.faults:
            raise DataError(f"{rows.source}: the champion cannot use column {name!r}: {sample.faults[name]}", hint=_HINT)
        cells.append([cell for array in sample.columns[name] for cell in _read_cells(array)])
    try:
        return rows_to_frame(names, list(zip(*cells, strict=True)), columns)
    except DataError as error:
        raise DataError(f"{rows.source}: the champion cannot use these rows: {error.message}", hint=_HINT) from error


def _read_cells(array: Any) -> list[Cell]:  # noqa: ANN401 - pyarrow is untyped
    """Return an Arrow array as the cells of a request. Missing values are None, and times are ISO 8601."""
    if classify_type(array.type) is Kind.NUMBER:
        numbers = read_numbers(array)
        cells: list[Any] = numbers.astype(object).tolist()
        for place in np.flatnonzero(np.isnan(numbers)):
            cells[place] = None
        return cells
    return [value.isoformat() if hasattr(value, "isoformat") else value for value in array.to_pylist()]
