"""Find the project of a running suite."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import DataError
from sluice.project.roots import ROOT_VARIABLE, find_root

if TYPE_CHECKING:
    import pytest


def find_project_folder(config: pytest.Config) -> Path | None:
    """Return the folder with the sluice.toml of this session.

    The search starts at $SLUICE_ROOT if it is set, or else at the working directory and then at pytest's root directory. It goes
    upwards.
    """
    named = os.environ.get(ROOT_VARIABLE)
    for start in [Path(named)] if named else [config.invocation_params.dir, config.rootpath]:
        with contextlib.suppress(DataError):
            return find_root(start)
    return None
