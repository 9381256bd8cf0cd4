"""A holdout that is edited into sluice.toml passes the checks of a rotation before a model is trained."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from release_project import make_rows

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.snapshots import digest_file
from sluice.errors import RefusedError
from sluice.project.projects import Project, read_project
from sluice.release.store.releases import ReleaseStore
from sluice.steps.gating import ask_gate
from sluice.steps.holdouts.rotation import plan_rotation, rotate
from sluice.steps.ledgers import read_gate_status
from sluice.steps.records import RUN_FOLDER_VARIABLE, read_warnings
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.layers import train_now

if TYPE_CHECKING:
    from pathlib import Path


def edit_holdout(project: Project, rows: pd.DataFrame) -> Project:
    """Write other rows to the file of the holdout, and declare its digest, as a person does by hand."""
    file = project.path("edited.parquet")
    rows.to_parquet(file, index=False)
    settings = (project.root / "sluice.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in settings if not line.startswith(("holdout =", "holdout_digest ="))]
    place = kept.index("[data]") + 1
    kept[place:place] = ['holdout = "edited.parquet"', f'holdout_digest = "{digest_file(file)}"']
    (project.root / "sluice.toml").write_text("\n".join(kept), encoding="utf-8")
    return read_project(project.root)


def train(project: Project) -> list[str]:
    """Train a model, and return the kinds of the warnings."""
    train_now(project)
    metadata = json.loads((project.state / "models/training.json").read_text(encoding="utf-8"))
    return [warning["kind"] for warning in metadata["warnings"]]


@pytest.mark.parametrize("new_ids", [False, True])
def test_rows_that_the_champion_was_trained_on_are_refused(project: Project, champion: str, new_ids: bool) -> None:
    """The champion knows all labels of this holdout, so no challenger could win."""
    assert champion
    known = pd.read_parquet(project.path("parcels.parquet"))
    make_rows(900, 6).to_parquet(project.path("parcels.parquet"), index=False)
    key = project.settings.data.id
    edited = edit_holdout(project, known.assign(**{key: [f"new-{row}" for row in range(len(known))]}) if new_ids else known)
    with pytest.raises(RefusedError, match="holdout rows are in the champion's training data") as caught:
        train_now(edited)
    assert "sluice holdout rotate" in str(caught.value.hint)
    assert not (project.state / LATEST_MODEL).exists()


def test_a_champion_whose_training_data_are_not_known_is_a_warning_with_another_holdout(project: Project, champion: str) -> None:
    make_rows(900, 6).to_parquet(project.path("parcels.parquet"), index=False)
    digest = ReleaseStore(project.state / "releases").get(champion).manifest["data"]["snapshot_digest"]
    for copy in (project.state / "snapshots").glob(f"{digest.removeprefix('sha256:')}*"):
        copy.unlink()
    assert train(edit_holdout(project, make_rows(800, 7))) == ["unknown-training-data"]


def ask(project: Project, folder: Path) -> list[str]:
    """Train, ask the gate, and return the kinds of the warnings that the gate's step records."""
    train(project)
    metadata = json.loads((project.state / "models/training.json").read_text(encoding="utf-8"))
    model, scores = str((project.state / LATEST_MODEL).resolve()), str(folder / "scores")
    score_gate_rows(model, metadata, scores, str(folder / "golden"))
    ask_gate(model, metadata, scores, str(folder / "decision"))
    return [warning["kind"] for warning in read_warnings(folder)]


def test_a_holdout_that_no_rotation_names_is_a_warning_while_questions_about_other_rows_count(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(run))
    assert ask(project, run) == []
    edited = edit_holdout(project, make_rows(800, 7))
    assert ask(edited, run) == ["unrecorded-holdout"]
    now = time.time()
    assert "no rotation to this holdout is recorded" in " ".join(read_gate_status(edited, now=now).warnings)
    assert read_gate_status(edited, now=now + 366 * 86_400).warnings == []


def test_a_rotated_holdout_gives_no_such_warning(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(run))
    assert ask(project, run) == []
    make_rows(800, 7).to_parquet(project.path("new.parquet"), index=False)
    rotate(plan_rotation(project, "new.parquet"), by="ann", why="the budget is spent")
    assert ask(read_project(project.root), run) == []
