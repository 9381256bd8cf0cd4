"""Find the project of a running suite."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import DataError, SluiceError
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


def find_suites(config: pytest.Config) -> tuple[Path, ...]:
    """Return the folders of the four suites of this session's project; nothing without a project that can be read."""
    root = find_project_folder(config)
    if root is None:
        return ()
    from sluice.project.projects import read_project  # noqa: PLC0415 - pydantic, which a suite rarely needs

    try:
        settings = read_project(root).settings.tests
    except SluiceError:
        return ()
    return tuple((root / folder).resolve() for folder in (settings.code, settings.data, settings.model, settings.integration))
