"""Golden rows: requests that the release stores with the model's answers at training. Each server repeats them at its start.

They are chosen from the holdout's test rows, without the id. Further golden rows have a null or an unseen category in one column,
for each column where the model accepts that.

This module needs only numpy and pandas, because the serving environment reads golden rows with it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.errors import DataError, IntegrityError, RefusedError
from sluice.release.feature_columns import Cell, Column, frame_to_rows, read_columns, rows_to_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

GOLDEN_FILE = "golden.json"
MAX_ROWS = 256
UNSEEN_CATEGORY = "unseen-category"
OTHER_CPU_TOLERANCE = 1e-12
"""The largest allowed difference of a probability between two classes of processors."""

_NULL_ROWS = 4
"""The number of rows to choose for each column with nulls, such that this column is null."""

PREDICTION_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The errors that a scikit-learn pipeline raises for rows that it does not accept."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenRows:
    """The golden rows of one release.

    Attributes:
        columns: The columns that the model was fitted on.
        rows: The rows as JSON cells, one list per row, in the order of `columns`.
        expected: The exact probabilities of the positive class at training, shape (rows,).
    """

    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    expected: NDArray[np.float64]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame for the model."""
        return rows_to_frame(self.names, self.rows, self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the golden rows as plain JSON types. `from_dict` reads them back. Floats keep every digit (`repr`)."""
        return {
            "names": self.names,
            "columns": [column.to_dict() for column in self.columns],
            "rows": self.rows,
            "expected": self.expected.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GoldenRows:
        """Read what `to_dict` returned."""
        columns = tuple(Column.from_dict(column) for column in values["columns"])
        return cls(columns, values["rows"], np.array(values["expected"], dtype=np.float64))


def read_golden_rows(folder: Path) -> GoldenRows:
    """Read the golden rows of an unpacked model layer.

    Raises:
        IntegrityError: The golden rows are missing or cannot be read.
    """
    try:
        return parse_golden_rows((folder / GOLDEN_FILE).read_bytes())
    except OSError as error:
        raise IntegrityError(f"{folder} has no golden rows: {error}", hint="Package the model again.") from error


def parse_golden_rows(stored: bytes) -> GoldenRows:
    """Read golden rows from the bytes of their file.

    Raises:
        IntegrityError: They cannot be read.
    """
    try:
        return GoldenRows.from_dict(json.loads(stored))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{GOLDEN_FILE} cannot be read as golden rows: {error}", hint="Package the model again.") from error


def predict_probabilities(model: Any, frame: pd.DataFrame) -> NDArray[np.float64]:  # noqa: ANN401 - scikit-learn is untyped
    """Return the probabilities of the positive class, float64, shape (rows,). Without rows the model is not called."""
    if frame.empty:
        return np.empty(0)
    return np.asarray(model.predict_proba(frame)[:, 1], dtype=np.float64)


def describe_bad_outputs(probabilities: NDArray[np.float64]) -> str:
    """Say in one sentence what is wrong with probabilities; return an empty text if each is a number in [0, 1]."""
    bad = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)))
    if not len(bad):
        return ""
    return f"{len(bad)} of {len(probabilities)} probabilities are not in [0, 1]; row {bad[0]} is {probabilities[bad[0]]}"


def describe_difference(expected: NDArray[np.float64], found: NDArray[np.float64], *, exact: bool) -> str:
    """Say in one sentence how predictions differ from those at training; return an empty text if they agree.

    Args:
        expected: The probabilities at training.
        found: The probabilities of the same rows now.
        exact: True if they must be equal to the last bit, as on one class of processors. False if a difference of
            `OTHER_CPU_TOLERANCE` is allowed.
    """
    if expected.shape != found.shape:
        return f"the model gave {found.size} predictions for {expected.size} golden rows"
    distance = np.abs(expected - found)
    bad = ~(expected == found) if exact else ~(distance <= OTHER_CPU_TOLERANCE)  # written so that NaN counts as different
    if not bad.any():
        return ""
    row = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
    limit = "no difference is allowed" if exact else f"the allowed difference is {OTHER_CPU_TOLERANCE:g}"
    return (
        f"{int(bad.sum())} of {expected.size} golden rows have another prediction than at training: row {row} is "
        f"{found[row]!r} and was {expected[row]!r}, but {limit}"
    )


def make_golden_rows(model: Any, features: pd.DataFrame) -> GoldenRows:  # noqa: ANN401 - scikit-learn is untyped
    """Choose golden rows and record the model's answers.

    Call it with one numerical thread (``threadpoolctl``). The server also uses one, because the number of threads changes the
    last bits of the results.

    Args:
        model: The fitted pipeline.
        features: The holdout's test rows without label and id.

    Returns:
        At most `MAX_ROWS` rows. The same model and features give the same rows.

    Raises:
        DataError: There are no rows, or a column cannot be sent as JSON.
        RefusedError: The model fails on rows of the holdout, returns values that are not probabilities, or gives another answer
            for a row after its conversion to JSON and back. It would then not be served as it was trained.
    """
    if features.empty:
        raise DataError("there are no test rows to choose golden rows from", hint="Use a larger holdout.")
    columns = read_columns(features)
    picked = features.iloc[_pick_rows(features, MAX_ROWS - min(2 * len(columns), MAX_ROWS // 2))]
    rows = frame_to_rows(picked)
    _require_same(_require_answer(model, picked), _require_answer(model, rows_to_frame(features.columns.tolist(), rows, columns)))
    variants = itertools.islice(_make_variants(rows[0], columns), MAX_ROWS - len(rows))
    golden = GoldenRows(columns, rows + [row for row in variants if _is_accepted(model, row, columns)], np.empty(0))
    return GoldenRows(columns, golden.rows, _require_answer(model, golden.frame()))


def _pick_rows(features: pd.DataFrame, most: int) -> NDArray[np.int64]:
    """Return the positions of rows: some with a null for each column that has nulls, and others spread evenly over the frame."""
    missing = features.isna().to_numpy()
    with_null = [np.flatnonzero(missing[:, column])[:_NULL_ROWS] for column in range(missing.shape[1])]
    first = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *with_null]))[: max(most, 1) // 2]
    spread = np.linspace(0, len(features) - 1, num=min(len(features), max(most - len(first), 1))).astype(np.int64)
    return np.union1d(first, spread)


def _make_variants(row: Sequence[Cell], columns: Sequence[Column]) -> Iterator[list[Cell]]:
    """Yield copies of a row: one with a null for each column, then one with an unseen category for each text column."""
    for place in range(len(columns)):
        yield [*row[:place], None, *row[place + 1 :]]
    for place, column in enumerate(columns):
        if column.kind == "text":
            yield [*row[:place], UNSEEN_CATEGORY, *row[place + 1 :]]


def _is_accepted(model: Any, row: list[Cell], columns: Sequence[Column]) -> bool:  # noqa: ANN401 - scikit-learn is untyped
    """Return whether the model accepts a row. A row that it was not made for cannot be a golden row."""
    try:
        found = predict_probabilities(model, rows_to_frame([column.name for column in columns], [row], columns))
    except PREDICTION_ERRORS:
        return False
    return not describe_bad_outputs(found)


def _require_answer(model: Any, frame: pd.DataFrame) -> NDArray[np.float64]:  # noqa: ANN401 - scikit-learn is untyped
    try:
        found = predict_probabilities(model, frame)
    except PREDICTION_ERRORS as error:
        raise RefusedError(
            f"the model fails on rows of the holdout: {type(error).__name__}: {error}",
            hint="Fit the model on the columns that the loader returns, and let it accept every value in them.",
        ) from error
    if fault := describe_bad_outputs(found):
        raise RefusedError(f"the model cannot be packaged: {fault}", hint="Let the pipeline end with a classifier.")
    return found


def _require_same(trained: NDArray[np.float64], served: NDArray[np.float64]) -> None:
    if fault := describe_difference(trained, served, exact=True):
        raise RefusedError(
            f"the model's answers change when rows are converted to JSON and back: {fault}",
            hint="Let the loader return plain numbers, texts, booleans and times, and use nothing else in the model.",
        )
