"""After the effects on churn have changed, a better model cannot win on the old holdout. A rotation lets it win.

The features keep their distributions, so nothing but the outcome shows the change. Everything is done as a person would do it:
the steps of the pipeline, the release's own server, and the commands `sluice holdout new` and `sluice holdout rotate`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from churn.customers import GROUND_TRUTH, simulate_customers
from sluice.cli import app
from sluice.data.snapshots import pin_snapshot
from sluice.project.projects import Project, read_project
from sluice.rollout.decisions.states import ChampionTerm
from sluice.rollout.platforms.selection import open_journal
from sluice.steps.curves import measure_curves
from sluice.steps.gating import ask_gate
from sluice.steps.packaging import package
from sluice.steps.records import RUN_FOLDER_VARIABLE
from sluice.steps.scoring import score_gate_rows
from sluice.steps.standalone.layers import train_now

if TYPE_CHECKING:
    import pandas as pd

REPOSITORY = Path(__file__).parents[2]
NEW_WORLD = dataclasses.replace(GROUND_TRUTH, effects={**GROUND_TRUTH.effects, "tenure": 0.3, "recency": 1.5})


def simulate(rows: int, seed: int, *, new_world: bool = False) -> pd.DataFrame:
    """Simulate customers whose ids are different for each seed."""
    frame = simulate_customers(rows, seed, truth=NEW_WORLD if new_world else GROUND_TRUTH)
    return frame.assign(customer_id=[f"{seed}-{number}" for number in range(rows)])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the churn example with data of the old world."""
    root = tmp_path / "churn-project"
    root.mkdir()
    for name in ("churn", "serving", "locks"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    lines = (REPOSITORY / "sluice.toml").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("holdout_digest"))
    (root / "sluice.toml").write_text(f'{text}\n[serving]\npython = "{REPOSITORY / ".venv-serving/bin/python"}"\n')
    (root / "data").mkdir()
    simulate(8000, 1).to_parquet(root / "data/customers.parquet", index=False)
    simulate(8000, 2).to_parquet(root / "data/holdout.parquet", index=False)
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    return read_project(root)


def train_and_ask(project: Project, folder: Path) -> tuple[bool, dict[str, Any], dict[str, str]]:
    """Train a model on the present snapshot and ask the gate; return its answer, the model's metadata and the written files."""
    folder.mkdir()
    model = train_now(project)
    metadata = json.loads((project.state / "models/training.json").read_text())
    files = {name: str(folder / name) for name in ("decision", "scores", "curves", "golden")} | {"model": str(model)}
    measure_curves(files["model"], metadata, files["curves"])
    score_gate_rows(files["model"], metadata, files["scores"], files["golden"])
    answer = ask_gate(files["model"], metadata, files["scores"], files["decision"])
    return answer, metadata, files


def promote(project: Project, metadata: dict[str, Any], files: dict[str, str]) -> None:
    made = [files[name] for name in ("curves", "decision", "scores", "golden")]
    digest = package(files["model"], metadata, [], *made)
    term = ChampionTerm(release=digest, by="ann", at=1.0)
    open_journal(project).update(lambda journal: dataclasses.replace(journal, history=(term,), weights={digest: 100}))
    pin_snapshot(str(project.path("data/customers.parquet")), project.state / "snapshots")


@pytest.mark.slow
def test_a_better_model_wins_after_the_rotation_and_the_report_says_before_that_the_holdout_is_old(
    project: Project, tmp_path: Path
) -> None:
    answer, metadata, files = train_and_ask(project, tmp_path / "first")
    assert answer
    assert metadata["warnings"] == []
    promote(project, metadata, files)

    simulate(8000, 3, new_world=True).to_parquet(project.path("data/customers.parquet"), index=False)
    answer, metadata, files = train_and_ask(project, tmp_path / "second")
    assert not answer
    [warning] = metadata["warnings"]
    assert warning["kind"] == "old-holdout"
    assert "the champion's AUC is 0.7" in warning["text"]
    assert "drifted" not in warning["text"]
    status = CliRunner().invoke(app, ["holdout", "status", "--output", "json"])
    assert json.loads(status.stdout)["outcome"] == "old"

    simulate(18_000, 4, new_world=True).to_parquet(project.path("data/may.parquet"), index=False)
    made = CliRunner().invoke(app, ["holdout", "new", "data/may.parquet", "--rows", "8000", "--output", "json"])
    file = json.loads(made.stdout)["data"]["file"]
    command = ["holdout", "rotate", file, "--why", "the effects changed", "--by", "ann", "--yes", "--output", "json"]
    rotated = json.loads(CliRunner().invoke(app, command).stdout)
    assert rotated["outcome"] == "rotated"
    assert rotated["data"]["budget"]["carried"] == 2

    answer, metadata, files = train_and_ask(read_project(project.root), tmp_path / "third")
    assert answer
    decision = json.loads(Path(files["decision"]).read_text())
    assert decision["difference"] > 0.1
    assert metadata["warnings"] == []
