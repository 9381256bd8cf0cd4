"""Golden rows: requests that travel in the release with the model's answers at training, compared at every start of a server.

They are taken from the holdout's test rows, and some of them are then given a null or a category that nobody has seen, in
every column where the model takes one. The id is no part of them.

Reading needs numpy and pandas alone: the serving environment does it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.errors import DataError, IntegrityError, RefusedError
from sluice.release.columns import Cell, Column, frame_to_rows, read_columns, rows_to_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

GOLDEN_FILE = "golden.json"
MOST_ROWS = 256
UNSEEN = "unseen-category"
OTHER_CPU_TOLERANCE = 1e-12
"""Largest difference of a probability between two classes of processors."""

_NULL_ROWS = 4
"""Rows with a null of its own, per column that has some."""

PREDICTION_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a scikit-learn pipeline raises on rows that it does not take."""


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Golden rows.

    Attributes:
        columns: What the model was fitted with.
        rows: JSON cells, one list per row, in the order of `columns`.
        expected: Probabilities of the positive class at training, exact, shape (rows,).
    """

    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    expected: NDArray[np.float64]

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    def frame(self) -> pd.DataFrame:
        """The rows as the model takes them."""
        return rows_to_frame(self.names, self.rows, self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back. Floats are written with every digit (`repr`)."""
        return {
            "names": self.names,
            "columns": [column.to_dict() for column in self.columns],
            "rows": self.rows,
            "expected": self.expected.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Golden:
        """Read what `to_dict` wrote."""
        columns = tuple(Column.from_dict(column) for column in values["columns"])
        return cls(columns, values["rows"], np.array(values["expected"], dtype=np.float64))


def read_golden(folder: Path) -> Golden:
    """The golden rows of an unpacked layer.

    Raises:
        IntegrityError: They are not there or cannot be read.
    """
    file = folder / GOLDEN_FILE
    try:
        return Golden.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{file} cannot be read as golden rows: {error}", hint="Package the model again.") from error


def predict_probabilities(model: Any, frame: pd.DataFrame) -> NDArray[np.float64]:  # noqa: ANN401 - scikit-learn is untyped
    """Probabilities of the positive class, float64, shape (rows,); no rows, no call of the model."""
    if frame.empty:
        return np.empty(0)
    return np.asarray(model.predict_proba(frame)[:, 1], dtype=np.float64)


def describe_bad_outputs(probabilities: NDArray[np.float64]) -> str:
    """What is wrong with probabilities, one sentence; empty when each is a number in [0, 1]."""
    bad = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)))
    if not len(bad):
        return ""
    return f"{len(bad)} of {len(probabilities)} probabilities are not in [0, 1]; row {bad[0]} is {probabilities[bad[0]]}"


def describe_difference(expected: NDArray[np.float64], found: NDArray[np.float64], *, exact: bool) -> str:
    """How predictions differ from the golden ones, one sentence; empty when they agree.

    Args:
        expected: Golden probabilities.
        found: Probabilities of the same rows now.
        exact: Equal to the last bit, as on one class of processors; else within `OTHER_CPU_TOLERANCE`.
    """
    if expected.shape != found.shape:
        return f"{found.size} predictions for {expected.size} golden rows"
    distance = np.abs(expected - found)
    bad = ~(expected == found) if exact else ~(distance <= OTHER_CPU_TOLERANCE)  # a NaN is never near
    if not bad.any():
        return ""
    row = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
    limit = "no difference" if exact else f"{OTHER_CPU_TOLERANCE:g}"
    return (
        f"{int(bad.sum())} of {expected.size} golden rows have another prediction than at training; row {row} is "
        f"{found[row]!r}, was {expected[row]!r}, allowed is {limit}"
    )


def make_golden(model: Any, features: pd.DataFrame) -> Golden:  # noqa: ANN401 - scikit-learn is untyped
    """Choose golden rows and record the model's answers.

    Call it with one numerical thread (``threadpoolctl``): the server compares with one, since the number of threads moves last
    bits.

    Args:
        model: The fitted pipeline.
        features: The holdout's test rows without label and id.

    Returns:
        At most `MOST_ROWS` rows; the same ones for the same model and features.

    Raises:
        DataError: There are no rows, or a column cannot be sent as JSON.
        RefusedError: The model refuses rows of the holdout, gives something that is no probability, or answers a row differently
            once it went through JSON: it would not be served as it was trained.
    """
    if features.empty:
        raise DataError("there are no test rows to take golden rows from", hint="Give a larger holdout.")
    columns = read_columns(features)
    picked = features.iloc[_pick_rows(features, MOST_ROWS - min(2 * len(columns), MOST_ROWS // 2))]
    rows = frame_to_rows(picked)
    _require_same(_require_answer(model, picked), _require_answer(model, rows_to_frame(features.columns.tolist(), rows, columns)))
    disturbed = itertools.islice(_disturb(rows[0], columns), MOST_ROWS - len(rows))
    golden = Golden(columns, rows + [row for row in disturbed if _answers(model, row, columns)], np.empty(0))
    return Golden(columns, golden.rows, _require_answer(model, golden.frame()))


def _pick_rows(features: pd.DataFrame, most: int) -> NDArray[np.int64]:
    """Positions of some rows with nulls of every column that has them, and of others evenly over the whole."""
    missing = features.isna().to_numpy()
    with_null = [np.flatnonzero(missing[:, column])[:_NULL_ROWS] for column in range(missing.shape[1])]
    first = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *with_null]))[: max(most, 1) // 2]
    spread = np.linspace(0, len(features) - 1, num=min(len(features), max(most - len(first), 1))).astype(np.int64)
    return np.union1d(first, spread)


def _disturb(row: Sequence[Cell], columns: Sequence[Column]) -> Iterator[list[Cell]]:
    """A row with a null in each column in turn, then with an unseen category in each column of text."""
    for place in range(len(columns)):
        yield [*row[:place], None, *row[place + 1 :]]
    for place, column in enumerate(columns):
        if column.kind == "text":
            yield [*row[:place], UNSEEN, *row[place + 1 :]]


def _answers(model: Any, row: list[Cell], columns: Sequence[Column]) -> bool:  # noqa: ANN401 - scikit-learn is untyped
    """Whether the model takes a row; what it was never meant to take is no golden row."""
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
            f"the model cannot answer rows of the holdout: {type(error).__name__}: {error}",
            hint="Fit it on the columns that the loader gives, and let it take what they hold.",
        ) from error
    if fault := describe_bad_outputs(found):
        raise RefusedError(f"the model cannot be packaged: {fault}", hint="Let the pipeline end in a classifier.")
    return found


def _require_same(trained: NDArray[np.float64], served: NDArray[np.float64]) -> None:
    if fault := describe_difference(trained, served, exact=True):
        raise RefusedError(
            f"rows change on their way through JSON: {fault}",
            hint="Let the loader give plain numbers, texts, true or false and times, and the model depend on nothing else.",
        )
