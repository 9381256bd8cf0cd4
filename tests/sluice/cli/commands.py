"""Run the command line in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

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


def sluice(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command. From the caller's environment it gets no Sluice settings except those that are given here."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    return subprocess.run(
        [sys.executable, "-m", "sluice", *arguments],
        cwd=cwd,
        env=clean | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
