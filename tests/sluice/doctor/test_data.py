"""`sluice doctor` reads the snapshot and the holdout, and leaves nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sluice.doctor.data import check_data
from sluice.project.projects import Project

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "steps"))
from gate_project import GateProject


@pytest.fixture
def toy(tmp_path: Path) -> GateProject:
    return GateProject(tmp_path)


def outcomes(project: Project, *, in_pods: bool = False) -> list[str]:
    return [each.outcome for each in check_data(project, in_pods=in_pods)]


def test_data_that_can_be_read_pass_and_nothing_is_written(toy: GateProject) -> None:
    project = toy.read()
    before = sorted(toy.root.rglob("*"))
    found = check_data(project)
    assert [each.outcome for each in found] == ["pass", "pass"], found
    assert "can be read" in found[0].detail
    assert "rows of both classes" in found[1].detail
    assert sorted(path for path in toy.root.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize("table", [{"snapshot": "gone.csv"}, {"holdout": "gone.csv"}])
def test_data_that_are_missing_fail_and_are_a_note_if_only_pods_read_them(toy: GateProject, table: dict[str, str]) -> None:
    project = toy.read()
    data = project.settings.data.model_copy(update=table)
    missing = Project(project.root, project.settings.model_copy(update={"data": data}))
    number = ["snapshot", "holdout"].index(next(iter(table)))
    assert outcomes(missing)[number] == "fail"
    assert "gone.csv" in check_data(missing)[number].detail
    assert outcomes(missing, in_pods=True)[number] == "note"
    assert outcomes(missing)[1 - number] == "pass"


def test_a_truncated_snapshot_and_another_holdout_than_the_declared_one_fail(toy: GateProject) -> None:
    project = toy.read()
    (toy.root / "cut.parquet").write_bytes(b"PAR1")
    (toy.root / "empty.csv").write_bytes(b"")
    for name, why in (("cut.parquet", "not a readable Parquet file"), ("empty.csv", "is empty")):
        data = project.settings.data.model_copy(update={"snapshot": name})
        found = check_data(Project(project.root, project.settings.model_copy(update={"data": data})))[0]
        assert found.outcome == "fail"
        assert why in found.detail
    data = project.settings.data.model_copy(update={"holdout_digest": f"sha256:{'0' * 64}"})
    assert outcomes(Project(project.root, project.settings.model_copy(update={"data": data})))[1] == "fail"
