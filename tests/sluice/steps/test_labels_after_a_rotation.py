"""Recent labelled rows are compared with the champion's AUC at the gate, also after the holdout was replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gate_project import GateProject, draw

from sluice.drift.comparisons import DriftOutcome
from sluice.steps.drift import compare_labels

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def draw_now(rows: int, *, seed: int, first: int) -> pd.DataFrame:
    """Draw rows of a world in which `a` no longer says anything about the label."""
    frame = draw(rows, seed=seed, first=first)
    return frame.assign(a=frame["a"].sample(frac=1, random_state=seed).to_numpy())


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GateProject:
    """A project whose champion uses `a`, and whose holdout was then replaced by rows of a world in which `a` says nothing."""
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    project = GateProject(tmp_path)
    project.promote(project.ask(project.train("champion", ("a",))))
    draw_now(4_000, seed=5, first=3 * 10**6).to_parquet(tmp_path / "fresh.parquet")
    project.configure(holdout="fresh.parquet")
    draw_now(4_000, seed=6, first=5 * 10**6).to_parquet(tmp_path / "recent.parquet")
    draw(40_000, seed=7, first=6 * 10**6).to_parquet(tmp_path / "as before.parquet")
    return project


def test_a_fall_before_the_rotation_is_found(toy: GateProject) -> None:
    change = compare_labels(toy.read(), "recent.parquet")
    assert change.outcome is DriftOutcome.DRIFTED
    assert change.before.auc > 0.8
    assert change.now.auc < 0.6


def test_rows_as_at_the_gate_are_steady(toy: GateProject) -> None:
    assert compare_labels(toy.read(), "as before.parquet").outcome is not DriftOutcome.DRIFTED
