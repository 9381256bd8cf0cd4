"""Where the project of a running test suite is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import DataError
from sluice.project.roots import ROOT_VARIABLE, find_root

if TYPE_CHECKING:
    import pytest


def find_project(config: pytest.Config) -> Path | None:
    """The folder with this session's sluice.toml: from $SLUICE_ROOT, else where pytest was started, else its root, upwards."""
    named = os.environ.get(ROOT_VARIABLE)
    for start in [Path(named)] if named else [config.invocation_params.dir, config.rootpath]:
        with contextlib.suppress(DataError):
            return find_root(start)
    return None
