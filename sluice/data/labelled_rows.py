"""Rows with their labels, read by the project's own loader and held against what sluice.toml says of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.data.boundaries import foreign_call
from sluice.errors import ConfigurationError, DataError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from sluice.project.projects import Project

_LABEL_HINT = "Map the label to 0 and 1 in the loader, and leave out rows whose outcome is not known."
_ID_HINT = "Name a column in data.id that tells every row from all others; the split of the holdout goes by it."


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Rows with their labels, as the project's loader gives them.

    Attributes:
        frame: Every column, index 0 … rows - 1.
        features: The frame without label and id: what a model is fitted with and asked with.
        labels: 0 or 1, int8, shape (rows,).
        ids: The rows' ids, object, shape (rows,).
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    labels: npt.NDArray[np.int8]
    ids: npt.NDArray[np.object_]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def select(self, query: str) -> LabelledRows:
        """The rows for which a pandas query holds, in their order.

        Args:
            query: For example ``"is_enterprise == True"``; all columns of `frame` can be named.

        Raises:
            DataError: The query cannot be evaluated over these columns.
        """
        hint = "Correct the query: it is in the words of pandas.DataFrame.query."
        with foreign_call(f"cannot select rows by {query!r}", hint=hint):
            picked = self.frame.query(query, engine="python").index.to_numpy()
        return self.take(picked)

    def take(self, positions: npt.NDArray[Any]) -> LabelledRows:
        """The rows at integer positions, or those where a boolean mask of all rows is True."""
        kept = np.flatnonzero(positions) if positions.dtype == bool else positions
        return LabelledRows(
            frame=self.frame.iloc[kept].reset_index(drop=True),
            features=self.features.iloc[kept].reset_index(drop=True),
            labels=self.labels[kept],
            ids=self.ids[kept],
        )


def read_labelled(project: Project, path: Path, *, source: str = "") -> LabelledRows:
    """Read a file with the project's loader and take label and id apart.

    Args:
        project: Whose loader, label and id.
        path: The file; a pinned one is named by its digest.
        source: What messages call it: the path or URL that a person gave; empty for the file's own name.

    Raises:
        ConfigurationError: ``data.load`` names no function, or one that gives no DataFrame.
        DataError: The loader refuses the file, or label or ids break their contract; the message names column and
            count.
    """
    with _as_given(path, source):
        return _take_apart(project, path)


def _take_apart(project: Project, path: Path) -> LabelledRows:
    frame = read_frame(project, path)
    label, key = project.settings.data.label, project.settings.data.id
    for column, setting in ((label, "data.label"), (key, "data.id")):
        if column not in frame.columns:
            raise DataError(
                f"{path.name} has no column {column!r}, which {setting} names; it has {_listed(frame.columns)}",
                hint=f"Correct {setting} in sluice.toml or the loader {project.settings.data.load}.",
            )
    frame = frame.reset_index(drop=True)
    return LabelledRows(
        frame=frame,
        features=frame.drop(columns=[label, key]),
        labels=_checked_labels(frame[label], path),
        ids=_checked_ids(frame[key], path),
    )


@contextlib.contextmanager
def _as_given(path: Path, source: str) -> Iterator[None]:
    """Let a refusal name the file as a person gave it, also where a project's loader made the message."""
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
        ConfigurationError: ``data.load`` names no function, or one that gives no DataFrame.
        DataError: The loader raised; the message is its own.
    """
    settings = project.settings.data
    load = project.load_object(settings.load, key="data.load")
    with foreign_call(
        f"{settings.load} cannot read {path}", hint="Correct the data, or the loader's contract where it is too narrow."
    ):
        frame = load(path)
    if not isinstance(frame, pd.DataFrame):
        raise ConfigurationError(
            f"data.load {settings.load} gave a {type(frame).__name__}, not a pandas DataFrame",
            hint="Return the rows as one DataFrame.",
        )
    if frame.empty:
        hint = "Check where the file comes from; an empty export is usually a failed one."
        raise DataError(f"{path} has no rows", hint=hint)
    return frame


def _checked_labels(column: pd.Series[Any], path: Path) -> npt.NDArray[np.int8]:
    """Labels as int8, refused where one is missing or neither 0 nor 1."""
    _require_present(column, f"{path.name}: label {column.name!r}", hint=_LABEL_HINT)
    wrong = column[~column.isin([0, 1])]
    if len(wrong):
        found = f"{len(wrong):,} rows have others: {_listed(wrong.unique()[:3])}"
        raise DataError(f"{path.name}: label {column.name!r} must be 0 or 1, and {found}", hint=_LABEL_HINT)
    return column.to_numpy().astype(np.int8)


def _checked_ids(column: pd.Series[Any], path: Path) -> npt.NDArray[np.object_]:
    """Ids as they are, refused where one is missing or comes twice."""
    _require_present(column, f"{path.name}: id {column.name!r}", hint=_ID_HINT)
    twice = column[column.duplicated()]
    if len(twice):
        found = f"{len(twice):,} rows repeat one: {_listed(twice.unique()[:3])}"
        raise DataError(f"{path.name}: id {column.name!r} is not unique, {found}", hint=_ID_HINT)
    ids = np.empty(len(column), dtype=object)
    ids[:] = column.tolist()
    return ids


def _require_present(column: pd.Series[Any], what: str, *, hint: str) -> None:
    missing = int(column.isna().sum())
    if missing:
        raise DataError(f"{what} is missing in {missing:,} of {len(column):,} rows", hint=hint)


def _listed(values: Iterable[object]) -> str:
    """A few values of a column in a message, as Python writes them."""
    return ", ".join(repr(value.item() if isinstance(value, np.generic) else value) for value in values)
