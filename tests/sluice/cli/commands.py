"""Run commands of `sluice`, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from forked_programs import run_forked

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = """
[project]
name = "small"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "loading:load"
label = "y"
id = "id"
[model]
build = "loading:build"
"""
"""A sluice.toml with only the required settings. The files that it names do not exist."""


MODULES = ("pandas", "pyarrow.parquet", "sklearn.pipeline", "kfp.compiler", "kubernetes.client", "sluice.*")
"""What a command need not import. Otherwise each command would import what it needs, for half a second."""


def sluice(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command. From the caller's environment it gets no Sluice settings except those that are given here."""
    command = [sys.executable, "-m", "sluice", *arguments]
    return run_forked(command, modules=MODULES, cwd=cwd, env=_clean_environment() | environment)


def sluice_in_new_interpreter(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does, with an interpreter that has imported nothing."""
    return subprocess.run(
        [sys.executable, "-m", "sluice", *arguments],
        cwd=cwd,
        env=_clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _clean_environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    return clean | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
