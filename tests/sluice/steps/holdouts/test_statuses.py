"""The state of the holdout: its rows, its age, and rows that it shares with training data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from release_project import make_rows
from typer.testing import CliRunner

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.cli import app
from sluice.data.holdout import read_whole_holdout
from sluice.data.labelled_rows import read_labelled_rows
from sluice.release.project_releases import read_warnings_about
from sluice.release.store.releases import ReleaseStore
from sluice.statistics.auc import compare_independent_auc, estimate_auc
from sluice.steps.before_training.ages import LOSS_TAIL, describe_loss, judge_age
from sluice.steps.champions import read_champion
from sluice.steps.curves import measure_curves
from sluice.steps.gating import ask_gate
from sluice.steps.holdouts.statuses import read_holdout_status
from sluice.steps.packaging import package
from sluice.steps.records import RUN_FOLDER_VARIABLE
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.layers import train_now

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def make_other_world(rows: int, seed: int) -> pd.DataFrame:
    """The same features as before, but light parcels are late now."""
    frame = make_rows(rows, seed)
    generator = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(frame["weight"].fillna(4) - 4))
    return frame.assign(late=(generator.random(rows) < chance).astype(int))


def test_a_holdout_of_the_present_world_is_usable(project: Project, champion: str) -> None:
    assert champion
    found = read_holdout_status(project)
    assert found.usable
    assert not found.age.old
    assert sum(sum(part.values()) for part in found.counts.values()) == 700
    assert list(found.overlaps) == ["the present training data"]
    assert found.age.features.startswith("none of 5 features has drifted; compared only in part: shipped_at (")


def test_features_that_drifted_make_the_holdout_old(project: Project) -> None:
    make_rows(900, 5).assign(weight=lambda rows: rows["weight"] + 4).to_parquet(project.path("parcels.parquet"))
    age = read_holdout_status(project).age
    assert age.old
    assert list(age.drifted) == ["weight"]
    warning = age.warn()
    assert warning
    assert "the holdout is old against the present training data: drifted: weight (PSI" in warning.text
    assert "sluice holdout rotate" in warning.hint


@pytest.mark.slow
def test_a_champion_that_is_worse_on_new_rows_makes_the_holdout_old(project: Project, champion: str) -> None:
    """The features are the same, so only the champion's AUC on rows that it does not know shows the change."""
    assert champion
    rows = pd.concat([pd.read_parquet(project.path("parcels.parquet")), make_other_world(900, 6)])
    rows.to_parquet(project.path("parcels.parquet"))
    found = read_holdout_status(project)
    assert not found.age.drifted
    assert found.age.worse_now
    assert "on 900 new rows" in found.age.champion
    assert list(found.overlaps) == ["the present training data", "the champion's training data"]


def test_new_rows_of_the_same_world_do_not_make_it_old(project: Project, champion: str) -> None:
    assert champion
    make_rows(900, 6).to_parquet(project.path("parcels.parquet"))
    assert not read_holdout_status(project).age.old


def test_a_champion_that_cannot_be_asked_stops_nothing(project: Project, champion: str) -> None:
    assert champion
    make_rows(900, 6).to_parquet(project.path("parcels.parquet"))
    training = read_labelled_rows(project, project.path("parcels.parquet"))
    (project.root / "serving" / "model_server.py").write_text("raise RuntimeError('broken')\n")
    age = judge_age(project, read_champion(project), read_whole_holdout(project), training, snapshot_digest="sha256:" + "1" * 64)
    assert not age.old
    assert "the champion could not be asked about new rows: the server" in age.champion


def test_an_altered_copy_of_the_champions_training_data_counts_as_missing(project: Project, champion: str) -> None:
    """Rows of another file would say which rows the champion knows, and which of them the holdout shares."""
    make_rows(900, 6).to_parquet(project.path("parcels.parquet"))
    digest = ReleaseStore(project.state / "releases").get(champion).manifest["data"]["snapshot_digest"]
    (copy,) = (project.state / "snapshots").glob(f"{digest.removeprefix('sha256:')}*")
    copy.unlink()
    make_rows(650, 8).to_parquet(copy)
    found = read_holdout_status(project)
    assert found.unknown == (f"the training data of the champion ({digest[:19]}) are not in {project.state / 'snapshots'}",)
    assert found.age.champion == "the champion's training data are not in this project's state, so its new rows are not known"


def test_two_samples_of_one_world_are_called_worse_in_at_most_one_of_a_thousand_cases() -> None:
    """500 pairs of samples of 400 rows; the bound of the loss is above zero with a probability of 0.001 each."""
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(500):
        estimates = []
        for _ in range(2):
            labels = (generator.random(400) < 0.3).astype(int)
            estimates.append(estimate_auc(labels, generator.normal(size=400) + labels))
        false += compare_independent_auc(*estimates).lower_bound(LOSS_TAIL) > 0
    assert false <= 4


@pytest.mark.parametrize(
    ("loss", "bound", "text"),
    [
        (0.1, 0.066, "it loses at least 0.066 at 99.9% confidence"),
        (0.02, -0.01, "a loss of 0.020, which chance explains"),
        (-0.02, -0.05, "no loss: it gains 0.020"),
        (0.0, -0.02, "no loss: it gains 0.000"),
    ],
)
def test_a_gain_is_not_called_a_loss(loss: float, bound: float, text: str) -> None:
    assert describe_loss(loss, bound) == text


def test_shared_rows_end_the_command_with_exit_code_4(project: Project) -> None:
    training, holdout = (pd.read_parquet(project.path(name)) for name in ("parcels.parquet", "holdout.parquet"))
    pd.concat([training, holdout.head(3)]).to_parquet(project.path("parcels.parquet"))
    result = CliRunner().invoke(app, ["holdout", "status", "--output", "json"])
    assert result.exit_code == 4
    document = json.loads(result.stdout)
    assert document["outcome"] == "unusable"
    assert document["data"]["overlaps"]["the present training data"]["by_id"] == 3
    table = CliRunner().invoke(app, ["holdout", "status"])
    assert "3 of 700 holdout rows are in the present training data: 3 by id" in " ".join(table.stdout.split())


def test_a_holdout_with_one_class_is_shown_with_the_problem(project: Project) -> None:
    rows = pd.read_parquet(project.path("holdout.parquet"))
    rows[rows["late"] == 0].to_parquet(project.path("holdout.parquet"))
    result = CliRunner().invoke(app, ["holdout", "status"])
    assert result.exit_code == 4
    assert "0 test rows with late = 1" in " ".join(result.stdout.split())


def test_the_training_step_records_the_age_and_the_release_keeps_the_warnings(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the training to the approval: the warning goes with the model's metadata into the release's attachments."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(run))
    make_rows(900, 5).assign(weight=lambda rows: rows["weight"] + 4).to_parquet(project.path("parcels.parquet"))
    train_now(project)
    metadata = json.loads((project.state / "models/training.json").read_text())
    assert [warning["kind"] for warning in metadata["warnings"]] == ["old-holdout"]
    part = json.loads((run / "parts/holdout.json").read_text())
    assert part["old"]
    assert list(part["drifted"]) == ["weight"]

    model = (project.state / LATEST_MODEL).resolve()
    files = {name: str(tmp_path / name) for name in ("curves", "decision", "scores", "golden", "verdicts")}
    measure_curves(str(model), metadata, files["curves"])
    score_gate_rows(str(model), metadata, files["scores"], files["golden"])
    assert ask_gate(str(model), metadata, files["scores"], files["decision"])
    (tmp_path / "verdicts").write_text(json.dumps({"layer": "code", "verdicts": []}))
    made = [files[name] for name in ("curves", "decision", "scores", "golden")]
    digest = package(str(model), metadata, [files["verdicts"]], *made)
    assert [warning.kind for warning in read_warnings_about(project, digest)] == ["old-holdout"]
    result = CliRunner().invoke(app, ["rollout", "approve", digest, "--dry-run", "--output", "json"])
    assert "the holdout is old" in json.loads(result.stdout)["data"]["warnings"][0]
