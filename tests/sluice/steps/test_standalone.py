"""Layers by hand, and the release that carries their verdicts: each is about the very thing that was tested."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.snapshots import digest_file
from sluice.errors import StateError
from sluice.project.projects import Project, read_project
from sluice.steps import alone
from sluice.steps.standalone import check_layer, digest_code, plan_candidate, train_now

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[project]
name = "tiny"
packages = ["tiny_package"]
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "tiny_package.model:load"
label = "y"
id = "id"
[model]
build = "tiny_package.model:build"
"""
MODEL = """
import pandas as pd
from sklearn.linear_model import LogisticRegression
load = pd.read_csv
build = LogisticRegression
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    (tmp_path / "tiny_package").mkdir()
    (tmp_path / "tiny_package" / "__init__.py").touch()
    (tmp_path / "tiny_package" / "model.py").write_text(MODEL)
    for name in ("rows.csv", "holdout.csv"):
        (tmp_path / name).write_text("id,x,y\n" + "".join(f"{row},{row % 7},{row % 2}\n" for row in range(60)))
    for layer in ("code", "data", "model"):
        (tmp_path / "tests" / layer).mkdir(parents=True)
        (tmp_path / "tests" / layer / "test_one.py").write_text("def test_one(): ...\n")
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("tiny_package", "tiny_package.model"):
        monkeypatch.delitem(__import__("sys").modules, module, raising=False)
    return read_project(tmp_path)


def say(_: str) -> None: ...


def test_verdicts_of_another_model_snapshot_or_code_are_left_out(tiny: Project) -> None:
    for layer in ("code", "data", "model"):
        check_layer(tiny, layer, say=say)
    plan = plan_candidate(tiny)
    assert plan.digest == digest_file((tiny.state / LATEST_MODEL).resolve())
    assert set(plan.verdicts) == {"code", "data", "model"}

    junk = tiny.root / "other.joblib"
    junk.write_bytes((tiny.state / LATEST_MODEL).read_bytes() + b"more")
    check_layer(tiny, "model", model=junk, say=say)
    other = tiny.root / "other.csv"
    other.write_text((tiny.root / "rows.csv").read_text() + "99,1,1\n")
    check_layer(tiny, "data", snapshot=str(other), say=say)
    (tiny.root / "tiny_package" / "more.py").touch()
    plan = plan_candidate(tiny)
    assert plan.verdicts == {}
    assert "it tested another model" in plan.left_out["model"]
    assert "it tested another snapshot" in plan.left_out["data"]
    assert "it tested other code" in plan.left_out["code"]


def test_what_was_not_run_or_says_not_what_it_tested_is_left_out(tiny: Project) -> None:
    with pytest.raises(StateError, match="no model was trained"):
        plan_candidate(tiny)
    train_now(tiny)
    folder = tiny.state / "layers" / "model"
    folder.mkdir(parents=True)
    (folder / alone.RESULT_FILE).write_text(json.dumps({"verdicts": [{"check": "auc"}]}))
    plan = plan_candidate(tiny)
    assert plan.verdicts == {}
    assert plan.left_out["code"] == "it was not run, `sluice test code` runs it"
    assert "of an unknown digest" in plan.left_out["model"]


def test_the_digest_of_the_code_goes_by_names_and_bytes(tiny: Project) -> None:
    before = digest_code(tiny)
    assert digest_code(tiny) == before
    (tiny.root / "tests" / "code" / "test_one.py").write_text("def test_one(): assert True\n")
    assert digest_code(tiny) != before
