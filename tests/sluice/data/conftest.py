"""A temporary project with its own loader."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = """\
[project]
name = "throwaway"
[data]
snapshot = "customers.csv"
holdout = "holdout.csv"
load = "depot:load"
label = "left"
id = "key"
[model]
build = "depot:build"
"""

LOADER = """\
import pandas as pd

def load(path):
    frame = pd.read_csv(path)
    if "spend" not in frame.columns:
        raise ValueError("column 'spend' is missing\\nand more words")
    return frame
"""


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    (root / "sluice.toml").write_text(SETTINGS)
    (root / "depot.py").write_text(LOADER)
    (root / "holdout.csv").write_text("key,spend,left\n" + "".join(f"{key},{key % 7},{key % 2}\n" for key in range(300)))
    path = list(sys.path)
    yield read_project(root)
    sys.path[:] = path
    sys.modules.pop("depot", None)
