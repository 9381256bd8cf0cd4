"""Where a project is: found without reading sluice.toml, for those that must not wait for its model to be imported."""

from __future__ import annotations

import os
from pathlib import Path

from sluice.errors import DataError

FILE_NAME = "sluice.toml"
ROOT_VARIABLE = "SLUICE_ROOT"


def find_root(start: Path | None = None) -> Path:
    """The nearest folder with a sluice.toml, from `start` (default: $SLUICE_ROOT, else the working directory) upwards.

    Raises:
        DataError: There is none.
    """
    first = Path(start or os.environ.get(ROOT_VARIABLE) or Path.cwd()).resolve()
    for folder in (first, *first.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise DataError(
        f"no {FILE_NAME} in {first} or above it",
        hint="Run inside a project, or name its folder with --project or $SLUICE_ROOT; README shows a first sluice.toml.",
    )
