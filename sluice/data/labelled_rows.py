"""Rows with their labels: the project's loader reads them, and Sluice checks the label and id columns that sluice.toml names."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.data.external_errors import external_call
from sluice.data.row_sets import write_id
from sluice.errors import ConfigurationError, DataError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from sluice.project.projects import Project

_LABEL_HINT = "Map the label to 0 and 1 in the loader, and leave out rows whose outcome is unknown."
_ID_HINT = "Set data.id to a column that has a different value in every row. The holdout is split by it."


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Rows with their labels, as the project's loader returns them.

    Attributes:
        frame: All columns, with the index 0 … rows - 1.
        features: The frame without label and id. A model is fitted on these columns and predicts from them.
        labels: 0 or 1, int8, shape (rows,).
        ids: The rows' ids, object, shape (rows,).
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    labels: npt.NDArray[np.int8]
    ids: npt.NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def select(self, query: str) -> LabelledRows:
        """Return the rows for which a pandas query is true, in their order.

        Args:
            query: For example ``"is_enterprise == True"``. It may use all columns of `frame`.

        Raises:
            DataError: The query cannot be evaluated on these columns.
        """
        hint = "Correct the query. It must be an expression for pandas.DataFrame.query."
        with external_call(f"cannot select rows by {query!r}", hint=hint):
            picked = self.frame.query(query, engine="python").index.to_numpy()
        return self.take(picked)

    def take(self, positions: npt.NDArray[Any]) -> LabelledRows:
        """Return the rows at integer positions, or the rows where a boolean mask over all rows is True."""
        kept = np.flatnonzero(positions) if positions.dtype == bool else positions
        return LabelledRows(
            frame=self.frame.iloc[kept].reset_index(drop=True),
            features=self.features.iloc[kept].reset_index(drop=True),
            labels=self.labels[kept],
            ids=self.ids[kept],
        )

    def pick_evenly(self, most: int) -> LabelledRows:
        """Return at most this many rows, evenly spread over all rows."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, num=most).astype(np.int64))


def read_labelled_rows(project: Project, path: Path, *, source: str = "") -> LabelledRows:
    """Read a file with the project's loader, and separate label and id from the features.

    Args:
        project: The project whose loader, label and id are used.
        path: The file. The digest names a pinned file.
        source: The path or URL that a person gave; messages show it instead of the pinned file. Empty for the file's own name.

    Raises:
        ConfigurationError: ``data.load`` does not name a function, or the function does not return a DataFrame.
        DataError: The loader refuses the file, or labels or ids break their contract. The message names the column and the count.
    """
    with _naming_source(path, source):
        return _split_columns(project, path)


def _split_columns(project: Project, path: Path) -> LabelledRows:
    frame = read_frame(project, path)
    label, key = project.settings.data.label, project.settings.data.id
    for column, setting in ((label, "data.label"), (key, "data.id")):
        if column not in frame.columns:
            raise DataError(
                f"{path.name} has no column {column!r}, which {setting} names; its columns are {_listed(frame.columns)}",
                hint=f"Correct {setting} in sluice.toml, or the loader {project.settings.data.load}.",
            )
    frame = frame.reset_index(drop=True)
    return LabelledRows(
        frame=frame,
        features=frame.drop(columns=[label, key]),
        labels=_checked_labels(frame[label], path),
        ids=_checked_ids(frame[key], path),
    )


@contextlib.contextmanager
def _naming_source(path: Path, source: str) -> Iterator[None]:
    """Name the file in error messages as a person gave it, even if the project's loader wrote the message."""
    try:
        yield
    except SluiceError as error:
        if source:
            error.message = error.message.replace(str(path), source).replace(path.name, source)
            error.args = (error.message,)
        raise


def read_frame(project: Project, path: Path) -> pd.DataFrame:
    """Call the project's loader.

    Raises:
        ConfigurationError: ``data.load`` does not name a function, or the function does not return a DataFrame.
        DataError: The loader raised an error, which the message contains, or it returned no rows.
    """
    settings = project.settings.data
    load = project.load_object(settings.load, key="data.load")
    with external_call(
        f"{settings.load} cannot read {path}", hint="Correct the data, or change the loader if its rules are too strict."
    ):
        frame = load(path)
    if not isinstance(frame, pd.DataFrame):
        raise ConfigurationError(
            f"data.load names {settings.load}, which returned a {type(frame).__name__} instead of a pandas DataFrame",
            hint="Let the loader return the rows as one DataFrame.",
        )
    if frame.empty:
        hint = "Check the source of the file. An empty export has usually failed."
        raise DataError(f"{path} has no rows", hint=hint)
    return frame


def _checked_labels(column: pd.Series[Any], path: Path) -> npt.NDArray[np.int8]:
    """Return the labels as int8. A label that is missing, or is neither 0 nor 1, is an error."""
    _require_present(column, f"{path.name}: label {column.name!r}", hint=_LABEL_HINT)
    wrong = column[~column.isin([0, 1])]
    if len(wrong):
        found = f"{len(wrong):,} rows have other values, for example {_listed(wrong.unique()[:3])}"
        raise DataError(f"{path.name}: label {column.name!r} must be 0 or 1, but {found}", hint=_LABEL_HINT)
    return column.to_numpy().astype(np.int8)


def _checked_ids(column: pd.Series[Any], path: Path) -> npt.NDArray[np.object_]:
    """Return the ids unchanged. An id that is missing, is infinite or occurs twice is an error."""
    _require_present(column.mask(column.isin([np.inf, -np.inf])), f"{path.name}: id {column.name!r}", hint=_ID_HINT)
    # Only the texts tell whether 1 and "1" are one id. So it is everywhere else. Numbers and texts alone need no conversion.
    mixed = column.dtype == object and pd.api.types.infer_dtype(column) != "string"
    twice = column[(column.map(write_id) if mixed else column).duplicated()]
    if len(twice):
        found = f"{len(twice):,} rows repeat an earlier id, for example {_listed(twice.unique()[:3])}"
        raise DataError(f"{path.name}: id {column.name!r} is not unique: {found}", hint=_ID_HINT)
    ids = np.empty(len(column), dtype=object)
    ids[:] = column.tolist()
    return ids


def _require_present(column: pd.Series[Any], what: str, *, hint: str) -> None:
    missing = int(column.isna().sum())
    if missing:
        raise DataError(f"{what} is missing in {missing:,} of {len(column):,} rows", hint=hint)


def _listed(values: Iterable[object]) -> str:
    """Format a few values of a column for a message, as Python writes them."""
    return ", ".join(repr(value.item() if isinstance(value, np.generic) else value) for value in values)
