"""Find the folder of a project without reading sluice.toml, for callers that must not wait for the import of pydantic."""

from __future__ import annotations

import os
from pathlib import Path

from sluice.errors import DataError

FILE_NAME = "sluice.toml"
ROOT_VARIABLE = "SLUICE_ROOT"


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder with a sluice.toml, from `start` upwards.

    Args:
        start: The folder to start at. The default is $SLUICE_ROOT, or else the working directory.

    Raises:
        DataError: There is no such folder.
    """
    first = Path(start or os.environ.get(ROOT_VARIABLE) or Path.cwd()).resolve()
    for folder in (first, *first.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise DataError(
        f"there is no {FILE_NAME} in {first} or above it",
        hint="Run Sluice inside a project, or set --project or $SLUICE_ROOT to its folder. The README shows an example.",
    )
