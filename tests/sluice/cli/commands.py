"""The command line as a process of its own."""

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
"""A sluice.toml with what every project must say, and nothing that is there."""


def sluice(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without settings of the caller's environment but those given."""
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
