"""Temporary projects whose suites really run."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sluice.checks.layers import LayerInputs, LayerResult, run_layer
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS = """\
[project]
name = "throwaway"
packages = ["shop"]

[data]
snapshot = "data/customers.csv"
holdout = "data/holdout.csv"
load = "shop.data:load"
label = "left"
id = "key"

[model]
build = "shop.data:build"

[thresholds]
auc = 0.6
"""

SHOP = """\
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def load(path):
    frame = pd.read_csv(path)
    if "spend" not in frame:
        raise ValueError("column 'spend' is missing")
    return frame


def build():
    return make_pipeline(StandardScaler(), LogisticRegression())
"""


def write_rows(path: Path, rows: int = 400, seed: int = 1) -> None:
    generator = np.random.default_rng(seed)
    spend = generator.normal(size=rows)
    left = (generator.random(rows) < 1 / (1 + np.exp(-2 * spend))).astype(int)
    pd.DataFrame({"key": np.arange(rows) + seed * 100_000, "spend": spend, "left": left}).to_csv(path, index=False)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    """A project whose package other tests have, too, so no module of it may stay loaded."""
    _forget_modules()
    yield _make_shop(tmp_path / "project")
    _forget_modules()


def _forget_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def _make_shop(root: Path) -> Project:
    for name in ("shop", "data", "tests/code", "tests/data", "tests/model", "tests/integration"):
        (root / name).mkdir(parents=True)
    (root / "sluice.toml").write_text(SETTINGS)
    (root / "shop" / "__init__.py").touch()
    (root / "shop" / "data.py").write_text(SHOP)
    write_rows(root / "data" / "customers.csv")
    write_rows(root / "data" / "holdout.csv", seed=2)
    return read_project(root)


@pytest.fixture
def run(shop: Project, tmp_path: Path) -> Callable[..., LayerResult]:
    """Return a function that writes a suite (file name → source) and runs its layer."""

    def run(
        suite: dict[str, str] | str, *, layer: str = "code", inputs: LayerInputs | None = None, timeout: float | None = 600
    ) -> LayerResult:
        files = {"test_suite.py": suite} if isinstance(suite, str) else suite
        for name, source in files.items():
            file = shop.root / "tests" / layer / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source))
        return run_layer(shop, layer, inputs or LayerInputs(), tmp_path / "results", timeout=timeout)

    return run
