"""Test layers outside a run, and the release that contains their verdicts if they are about the same code, data and model."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.snapshots import digest_file
from sluice.errors import IntegrityError, StateError
from sluice.project.projects import Project, read_project
from sluice.release.golden_answers import answer_in_process
from sluice.steps.standalone import candidates
from sluice.steps.standalone import layers as standalone
from sluice.steps.standalone.candidates import build_candidate, plan_candidate
from sluice.steps.standalone.layers import check_layer, train_now
from sluice.steps.standalone.results import digest_code

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.release.golden_rows import GoldenRows

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
    for name, first, rows in (("rows.csv", 0, 60), ("holdout.csv", 1000, 300)):
        lines = (f"{row},{row % 7 + row / 9973},{row % 2}\n" for row in range(first, first + rows))
        (tmp_path / name).write_text("id,x,y\n" + "".join(lines))
    for layer in ("code", "data", "model"):
        (tmp_path / "tests" / layer).mkdir(parents=True)
        (tmp_path / "tests" / layer / "test_one.py").write_text("def test_one(): ...\n")
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("tiny_package", "tiny_package.model"):
        monkeypatch.delitem(__import__("sys").modules, module, raising=False)
    return read_project(tmp_path)


def ignore(_: str) -> None: ...


def test_verdicts_about_another_model_snapshot_or_code_are_left_out(tiny: Project) -> None:
    for layer in ("code", "data", "model"):
        check_layer(tiny, layer, notify=ignore)
    plan = plan_candidate(tiny)
    assert plan.digest == digest_file((tiny.state / LATEST_MODEL).resolve())
    assert set(plan.verdicts) == {"code", "data", "model"}

    other_model = tiny.root / "other.joblib"
    other_model.write_bytes((tiny.state / LATEST_MODEL).read_bytes() + b"more")
    check_layer(tiny, "model", model=other_model, notify=ignore)
    other_snapshot = tiny.root / "other.csv"
    other_snapshot.write_text((tiny.root / "rows.csv").read_text() + "99,1,1\n")
    check_layer(tiny, "data", snapshot=str(other_snapshot), notify=ignore)
    (tiny.root / "tiny_package" / "more.py").touch()
    plan = plan_candidate(tiny)
    assert plan.verdicts == {}
    assert "the layer tested another model" in plan.left_out["model"]
    assert "the layer tested another snapshot" in plan.left_out["data"]
    assert "the layer tested other code" in plan.left_out["code"]


def test_a_layer_is_left_out_if_it_was_not_run_or_does_not_say_what_it_tested(tiny: Project) -> None:
    with pytest.raises(StateError, match="no model was trained"):
        plan_candidate(tiny)
    train_now(tiny)
    folder = tiny.state / "layers" / "model"
    folder.mkdir(parents=True)
    (folder / standalone.RESULT_FILE).write_text(json.dumps({"verdicts": [{"check": "auc"}]}))
    plan = plan_candidate(tiny)
    assert plan.verdicts == {}
    assert plan.left_out["code"] == "the layer was not run; `sluice test code` runs it"
    assert "its digest is unknown" in plan.left_out["model"]


def test_the_digest_of_the_code_changes_with_the_code(tiny: Project) -> None:
    before = digest_code(tiny)
    assert digest_code(tiny) == before
    (tiny.root / "tests" / "code" / "test_one.py").write_text("def test_one(): assert True\n")
    assert digest_code(tiny) != before


class Trap:
    """A model's file that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return type(self.mark).touch, (self.mark,)


@pytest.mark.slow
def test_a_release_is_never_built_of_a_model_that_was_altered_after_training(
    tiny: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_now(tiny)
    file, mark = (tiny.state / LATEST_MODEL).resolve(), tiny.root / "unpickled"
    honest, evil = file.read_bytes(), pickle.dumps(Trap(mark))
    file.write_bytes(evil)
    with pytest.raises(IntegrityError, match="has the digest"):
        build_candidate(tiny)
    file.write_bytes(honest)

    def replace_and_answer(project: Project, model: Path, digest: str, *, holdout: str) -> GoldenRows:
        model.write_bytes(evil)  # right after the check of the caller
        return answer_in_process(project, model, digest, holdout=holdout)

    monkeypatch.setattr(candidates, "answer_in_process", replace_and_answer)
    with pytest.raises(IntegrityError, match="has digest"):
        build_candidate(tiny)
    assert not mark.exists()
    pickle.loads(evil)  # noqa: S301 - the test made it
    assert mark.exists(), "unpickling would have been noticed"
