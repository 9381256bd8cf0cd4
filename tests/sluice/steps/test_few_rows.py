"""A project whose holdout is too small for its threshold does not get a release: the real pipeline on the local engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sluice.engines.local.engine import LocalEngine
from sluice.engines.local.runs import read_run
from sluice.project.projects import read_project

if TYPE_CHECKING:
    from sluice.project.projects import Project

ROOT = Path(__file__).parents[3]
SETTINGS = """\
[project]
name = "shop"
packages = ["shop"]
[data]
snapshot = "data/train.parquet"
holdout = "data/holdout.parquet"
load = "shop.data:load"
label = "y"
id = "id"
gate_fraction = 0.8
[model]
build = "shop.data:build"
[thresholds]
auc = 0.95
[pipelines]
ci = "pipelines.ci:ci_pipeline"
"""
CODE = """\
import pandas as pd
from sklearn.linear_model import LogisticRegression


def load(path):
    return pd.read_parquet(path)


def build():
    return LogisticRegression()
"""
MODEL_TEST = """\
from sluice.checks.judgements import judge_auc, predict_probability


def test_auc(model, holdout, thresholds, verify):
    verify(judge_auc("auc", holdout.labels, predict_probability(model, holdout.features), threshold=thresholds["auc"]))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A project with labels that are the toss of a coin, and about 26 test rows in its holdout."""
    root = tmp_path / "shop"
    for name in ("components", "pipelines", "locks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "compiled"))
    files = {
        "sluice.toml": SETTINGS,
        "shop/__init__.py": "",
        "shop/data.py": CODE,
        "tests/code/test_code.py": "def test_one(): assert 1\n",
        "tests/data/test_data.py": "def test_rows(snapshot): assert len(snapshot.frame)\n",
        "tests/model/test_model.py": MODEL_TEST,
        "tests/integration/test_service.py": "def test_one(): assert 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "sluice").symlink_to(ROOT / "sluice")  # a run imports from its project first, so this is the code under test
    (root / "data").mkdir()
    random = np.random.default_rng(1)
    rows = pd.DataFrame({"id": range(330), "a": random.normal(size=330), "y": random.integers(0, 2, size=330)})
    rows[130:].to_parquet(root / "data" / "train.parquet", index=False)
    rows[:130].to_parquet(root / "data" / "holdout.parquet", index=False)
    return read_project(root)


@pytest.mark.slow
def test_a_threshold_that_the_rows_cannot_show_ends_the_run(shop: Project) -> None:
    engine = LocalEngine(shop)
    run = engine.submit("ci", {"snapshot": ""})
    folder = engine.folder(run)
    steps = [event["step"] for event in engine.events(run) if event["event"] == "ended"]
    document = read_run(folder)
    assert document["outcome"] == "failed"
    assert "model tests are inconclusive: auc: 0." in document["reason"]
    assert "rows are needed" in document["reason"]
    (failed,) = [step for step in document["steps"] if step["outcome"] == "fail"]
    assert (failed["name"], failed["exit_code"]) == ("model-tests", 4)
    assert "[tests.allow_inconclusive]" in failed["hint"]
    assert "gate" not in steps
    assert json.loads((folder / "parts" / "layer-model.json").read_text())["outcome"] == "inconclusive"
