"""The rows of a project's file as the comparison of drift reads them, and the reference that is frozen from them at training.

Training and the drift step use the same functions, so that a reference that a release carries equals one that is frozen later.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pandas as pd

from sluice.data.external_errors import external_call
from sluice.data.labelled_rows import read_frame
from sluice.drift.batches import FrameRows, open_rows
from sluice.drift.references import freeze_reference
from sluice.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from sluice.drift.batches import Rows
    from sluice.drift.references import DriftReference
    from sluice.project.projects import Project


def read_rows(project: Project, path: Path, source: str) -> Rows:
    """Return the rows of a file as ``drift.load`` reads them, else as they are, else as ``data.load`` reads them.

    Args:
        project: The project.
        path: The file.
        source: The file as a person named it, for messages.

    Raises:
        ConfigurationError: drift.load does not name a function that returns DataFrames.
        DataError: The file cannot be read.
    """
    load = project.settings.drift.load
    if load:
        return FrameRows(_call_loader(project, load, path, source or str(path)), source or str(path))
    read_once = functools.cache(lambda: read_frame(project, path))  # the rows are read for their names, and then again
    return open_rows(path, source) or FrameRows(lambda: [read_once()], source or str(path))


def freeze_file(project: Project, path: Path, source: str, features: Collection[str]) -> DriftReference:
    """Freeze the reference of a file, with the columns that the project's settings choose.

    Args:
        project: The project.
        path: The file.
        source: The file as a person named it.
        features: The model's features. Other columns are left out, because no model sees them. If there are none, all columns
            count.

    Raises:
        ConfigurationError: As for `read_rows`.
        DataError: The file cannot be read, it has no rows, or it lacks a column that drift.columns names.
    """
    rows = read_rows(project, path, source)
    return freeze_reference(rows, columns=project.settings.drift.columns, left_out=_choose_left_out(project, rows, features))


def list_left_out(project: Project) -> dict[str, str]:
    """Return the columns that the settings leave out on purpose, with the reasons."""
    data = project.settings.data
    named = dict.fromkeys(project.settings.drift.leave_out, "named in drift.leave_out")
    return {data.label: "the label", data.id: "the id"} | named


def _choose_left_out(project: Project, rows: Rows, features: Collection[str]) -> dict[str, str]:
    """Return the columns that are left out on purpose, with the reasons.

    If the loader makes the features from other columns, the file does not have all of them. Then all columns of the file count.
    """
    names = {*rows.types, *rows.twice}
    unused = names.difference(features) if features and names.issuperset(features) else set()
    return dict.fromkeys(sorted(unused), "the champion does not use it") | list_left_out(project)


def _call_loader(project: Project, name: str, path: Path, source: str) -> Callable[[], Iterable[pd.DataFrame]]:
    """Return a function that returns the frames of the project's loader. A single frame is kept, so that it is read once."""
    load = project.load_object(name, key="drift.load")
    whole: list[pd.DataFrame] = []

    def read() -> Iterable[pd.DataFrame]:
        if whole:
            yield from whole
            return
        with external_call(f"{name} cannot read {source}", hint="Correct the data, or the function that drift.load names."):
            found = load(path)
            if isinstance(found, pd.DataFrame):
                whole.append(found)
            for frame in whole or found:
                if not isinstance(frame, pd.DataFrame):
                    raise ConfigurationError(
                        f"drift.load names {name}, which returned a {type(frame).__name__} instead of a pandas DataFrame",
                        hint="Let it return the rows as one DataFrame, or yield several.",
                    )
                yield frame

    return read
