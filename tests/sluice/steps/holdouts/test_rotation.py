"""A rotation has the champion scored by its own server, keeps the budget, and changes two keys of sluice.toml."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pytest
from release_project import make_rows
from typer.testing import CliRunner

from sluice.cli import app
from sluice.data.holdout import open_holdout
from sluice.errors import ConfigurationError, DataError, RefusedError, ServiceError, StateError, UsageError
from sluice.gate.ledger_documents import RotationRecord
from sluice.project.projects import Project, read_project
from sluice.steps.gating import ask_gate
from sluice.steps.holdouts.rotation import plan_rotation, rotate
from sluice.steps.ledgers import open_ledger, open_scores
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.layers import train_now

if TYPE_CHECKING:
    from pathlib import Path

WHY = "prices changed in April"


@pytest.fixture
def fresh_holdout(project: Project) -> pd.DataFrame:
    rows = make_rows(800, 7)
    rows.to_parquet(project.path("new.parquet"), index=False)
    text = (project.root / "sluice.toml").read_text()
    (project.root / "sluice.toml").write_text(text.replace('load = "', '# Read by everybody.\nload = "'))
    return rows


def rotations(project: Project) -> list[RotationRecord]:
    return [record for record in open_ledger(project).read().records if isinstance(record, RotationRecord)]


def test_a_rotation_scores_the_champion_records_it_and_changes_the_settings(
    project: Project, champion: str, fresh_holdout: pd.DataFrame
) -> None:
    before = (project.root / "sluice.toml").read_text()
    old = open_holdout(project)
    rotate(plan_rotation(project, "new.parquet"), by="ann", why=WHY)

    later = read_project(project.root)
    new = open_holdout(later)
    assert later.settings.data.holdout == "new.parquet"
    assert later.settings.data.holdout_digest == new.digest
    after = (project.root / "sluice.toml").read_text().splitlines()
    assert [line for line in after if line not in before.splitlines()] == [
        'holdout = "new.parquet"',
        f'holdout_digest = "{new.digest}"',
    ]

    stored = open_scores(later).load(champion, row_set=new.row_set.digest, holdout=new.digest, ids=new.gate.ids)
    assert stored is not None
    model = joblib.load(project.root / "model.joblib")
    assert np.abs(stored.align(new.gate.ids) - model.predict_proba(new.gate.features)[:, 1]).max() <= 1e-12
    assert len(new.gate) < len(fresh_holdout)

    [record] = rotations(later)
    assert (record.by, record.why, record.old, record.new) == ("ann", WHY, old.row_set.digest, new.row_set.digest)


def test_a_second_rotation_to_the_same_file_changes_nothing(project: Project, fresh_holdout: pd.DataFrame) -> None:
    assert len(fresh_holdout)
    rotate(plan_rotation(project, "new.parquet"), by="ann", why=WHY)
    text = (project.root / "sluice.toml").read_text()
    plan = plan_rotation(read_project(project.root), "new.parquet")
    assert plan.unchanged
    rotate(plan, by="ann", why=WHY)
    assert (project.root / "sluice.toml").read_text() == text
    assert len(rotations(project)) == 1


@pytest.mark.slow
def test_an_interrupted_rotation_is_completed_and_recorded_once(
    project: Project, champion: str, fresh_holdout: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert champion
    assert len(fresh_holdout)
    monkeypatch.setattr("sluice.steps.holdouts.rotation._write_settings", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        rotate(plan_rotation(project, "new.parquet"), by="ann", why=WHY)
    assert read_project(project.root).settings.data.holdout == "holdout.parquet"
    monkeypatch.undo()
    monkeypatch.setenv("SLUICE_ROOT", str(project.root))
    rotate(plan_rotation(read_project(project.root), "new.parquet"), by="ann", why=WHY)
    assert read_project(project.root).settings.data.holdout == "new.parquet"
    assert len(rotations(project)) == 1


def test_questions_to_the_old_holdout_count_against_the_budget_of_the_new_one(
    project: Project, fresh_holdout: pd.DataFrame, tmp_path: Path
) -> None:
    assert len(fresh_holdout)
    model = train_now(project)
    metadata = json.loads((project.state / "models/training.json").read_text())
    score_gate_rows(str(model), metadata, str(tmp_path / "s"), str(tmp_path / "g"))
    assert ask_gate(str(model), metadata, str(tmp_path / "s"), str(tmp_path / "d"))
    plan = plan_rotation(project, "new.parquet")
    assert (plan.use.used, plan.use.carried, plan.use.left) == (1, 1, plan.use.budget - 1)
    rotate(plan, by="ann", why=WHY)
    later = read_project(project.root)
    use = plan_rotation(later, "new.parquet").use
    assert (use.used, use.carried) == (1, 1)


@pytest.mark.parametrize(("rows", "message"), [("training", "40 by id"), ("copies", "by features and label")])
def test_rows_of_the_champions_training_data_are_refused(
    project: Project, champion: str, fresh_holdout: pd.DataFrame, rows: str, message: str
) -> None:
    """Also if the present training data no longer contain them."""
    assert champion
    known = pd.read_parquet(project.path("parcels.parquet")).head(40)
    known = known if rows == "training" else known.assign(key=known["key"] + 10**9)
    pd.concat([fresh_holdout, known]).to_parquet(project.path("new.parquet"))
    make_rows(600, 8).to_parquet(project.path("parcels.parquet"))
    with pytest.raises(RefusedError, match=f"holdout rows are in the champion's training data: .*{message}"):
        plan_rotation(project, "new.parquet")


def test_rows_of_the_old_holdout_are_refused(project: Project, fresh_holdout: pd.DataFrame) -> None:
    old = pd.read_parquet(project.path("holdout.parquet"))
    pd.concat([fresh_holdout.head(400), old.tail(400)]).to_parquet(project.path("new.parquet"))
    with pytest.raises(StateError, match=r"shares about .*% of its rows with an earlier one"):
        plan_rotation(project, "new.parquet")


def test_the_same_rows_in_another_file_are_the_same_holdout(project: Project) -> None:
    """Written again, they keep their budget, so only the settings change."""
    pd.read_parquet(project.path("holdout.parquet")).to_parquet(project.path("new.parquet"), compression="gzip")
    rotate(plan_rotation(project, "new.parquet"), by="ann", why="another compression")
    assert read_project(project.root).settings.data.holdout == "new.parquet"
    assert not rotations(project)


def test_a_champion_that_cannot_be_scored_stops_the_rotation(
    project: Project, champion: str, fresh_holdout: pd.DataFrame
) -> None:
    assert champion
    assert len(fresh_holdout)
    (project.root / "serving" / "model_server.py").write_text("raise RuntimeError('another environment')\n")
    plan = plan_rotation(project, "new.parquet")
    with pytest.raises(ServiceError, match="another environment"):
        rotate(plan, by="ann", why=WHY)
    assert not rotations(project)
    assert read_project(project.root).settings.data.holdout == "holdout.parquet"


def test_a_holdout_that_the_gate_cannot_use_is_refused(project: Project) -> None:
    make_rows(30, 7).to_parquet(project.path("new.parquet"))
    with pytest.raises(DataError, match="gate row"):
        plan_rotation(project, "new.parquet")


def test_a_variable_that_names_the_holdout_is_refused(
    project: Project, fresh_holdout: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(fresh_holdout)
    monkeypatch.setenv("SLUICE_DATA__HOLDOUT", "holdout.parquet")
    with pytest.raises(ConfigurationError, match="SLUICE_DATA__HOLDOUT takes precedence"):
        plan_rotation(project, "new.parquet")


def test_the_command_asks_shows_the_decision_and_says_what_it_did(project: Project, fresh_holdout: pd.DataFrame) -> None:
    assert len(fresh_holdout)
    command = ["holdout", "rotate", "new.parquet", "--why", WHY, "--by", "ann", "--output", "json"]
    text = (project.root / "sluice.toml").read_text()
    planned = json.loads(CliRunner().invoke(app, [*command, "--dry-run"]).stdout)
    assert planned["outcome"] == "would-rotate"
    assert isinstance(CliRunner().invoke(app, command).exception, UsageError)
    assert (project.root / "sluice.toml").read_text() == text
    started = time.time()
    done = json.loads(CliRunner().invoke(app, [*command, "--yes"]).stdout)
    assert done["outcome"] == "rotated"
    assert {key: done["data"][key] for key in planned["data"]} == planned["data"]
    assert rotations(project)[0].at >= started
    assert json.loads(CliRunner().invoke(app, [*command, "--yes"]).stdout)["outcome"] == "unchanged"


def test_a_rotation_needs_a_reason(project: Project, fresh_holdout: pd.DataFrame) -> None:
    assert len(fresh_holdout)
    with pytest.raises(StateError, match="needs a reason"):
        rotate(plan_rotation(project, "new.parquet"), by="ann", why=" ")


def test_the_same_rows_in_another_file_are_no_rotation(project: Project, fresh_holdout: pd.DataFrame) -> None:
    assert len(fresh_holdout)
    pd.read_parquet(project.path("holdout.parquet")).to_parquet(project.path("renamed.parquet"), compression="gzip")
    command = ["holdout", "rotate", "renamed.parquet", "--why", WHY, "--by", "ann", "--yes", "--output", "json"]
    assert json.loads(CliRunner().invoke(app, command).stdout)["outcome"] == "renamed"
    assert not rotations(project)
    assert 'holdout = "renamed.parquet"' in (project.root / "sluice.toml").read_text()
