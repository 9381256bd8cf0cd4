"""A release carries its reference for drift and says where its training data came from, so that a pod needs neither."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import fsspec
import pytest
from champions import make_first_champion
from release_project import make_rows

from sluice.data.snapshots import digest_file
from sluice.drift.comparisons import DriftOutcome
from sluice.drift.references import DriftReference
from sluice.errors import DataError, StateError
from sluice.project.projects import Project, read_project
from sluice.release.project_releases import open_releases
from sluice.scoring.release_scores import score_in_process
from sluice.steps.champions import read_champion, read_champion_training_rows, read_drift_reference
from sluice.steps.drift import SCORE, compare_sources, measure_drift
from sluice.steps.packaging import read_reference
from sluice.steps.snapshots import pin, pin_reference
from sluice.steps.training import record_source, train

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from release_project import Trained

FEATURES = ["weight", "zone", "express", "items", "shipped_at"]


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SLUICE_ROOT", str(trained.project.root))
    return read_project(trained.project.root)


@pytest.fixture
def metadata(project: Project, tmp_path: Path) -> dict[str, Any]:
    """What the training step says about a model that it trained."""
    pinned = pin("", tmp_path / "snapshot")
    return train(str(tmp_path / "snapshot"), pinned, tmp_path / "model", tmp_path / "reference")


@pytest.fixture
def elsewhere(
    project: Project, metadata: dict[str, Any], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """The project where its champion was not trained: no training data, and a newer snapshot in sluice.toml."""
    layer = trained.package(model=tmp_path / "model", drift_reference=read_reference(tmp_path / "reference"))
    make_first_champion(project, layer)
    shutil.rmtree(project.state / "snapshots")
    make_rows(600, 9).to_parquet(tmp_path / "newest.parquet")
    monkeypatch.setenv("SLUICE_DATA__SNAPSHOT", str(tmp_path / "newest.parquet"))
    monkeypatch.setenv("SLUICE_DRIFT__LEAST_ROWS", "300")
    return read_project(project.root)


def test_the_training_freezes_what_the_drift_step_would_freeze_from_the_training_data(
    project: Project, metadata: dict[str, Any], trained: Trained, tmp_path: Path
) -> None:
    carried = DriftReference.from_dict(read_reference(tmp_path / "reference"))
    make_first_champion(project, trained.package())  # a release of an earlier version, which carries none
    (release,) = open_releases(project).list()
    frozen = read_drift_reference(project, release)
    assert (frozen.digest, frozen.rows, list(frozen.columns)) == (carried.digest, 600, FEATURES)
    assert (frozen.left_out, frozen.scores) == (carried.left_out, None)
    assert carried.scores is not None
    assert carried.scores.rows > 300, "the scores of the holdout's test rows"
    assert metadata["snapshot_source"] == "parcels.parquet"


@pytest.mark.slow
def test_without_the_training_data_the_reference_of_the_release_is_compared(elsewhere: Project, tmp_path: Path) -> None:
    (release,) = open_releases(elsewhere).list()
    assert list(read_drift_reference(elsewhere, release).columns) == FEATURES
    steady = compare_sources(elsewhere, scores=True)
    assert steady.outcome is DriftOutcome.STEADY
    assert list(steady.features) == [*FEATURES, SCORE]
    assert set(steady.left_out) == {"late", "key"}
    rows = make_rows(600, 7)
    rows.assign(weight=rows["weight"] * 3).to_parquet(tmp_path / "now.parquet")
    assert compare_sources(elsewhere, current=str(tmp_path / "now.parquet")).drifted == ["weight"]
    with pytest.raises(StateError, match="is the same file as the reference"):
        compare_sources(elsewhere, current=str(elsewhere.root / "parcels.parquet"))


def test_the_present_settings_choose_the_columns_of_a_carried_reference(
    elsewhere: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DRIFT__LEAVE_OUT", '["weight"]')
    result = compare_sources(read_project(elsewhere.root))
    assert (result.outcome, result.left_out["weight"]) == (DriftOutcome.STEADY, "named in drift.leave_out")
    monkeypatch.setenv("SLUICE_DRIFT__COLUMNS", '["zone", "late"]')
    result = compare_sources(read_project(elsewhere.root))
    assert list(result.features) == ["zone"]
    assert result.not_compared == {"late": "the release froze no reference of this column"}
    assert result.outcome is DriftOutcome.INCONCLUSIVE, "a column that should be compared cannot be"


def test_the_pipelines_steps_pass_the_carried_reference_on(elsewhere: Project, tmp_path: Path) -> None:
    before = str(tmp_path / "before"), pin_reference("", tmp_path / "before")
    assert before[1]["form"] == "drift-reference"
    assert before[1]["digest"] == digest_file(tmp_path / "before")
    now = str(tmp_path / "now"), pin("", tmp_path / "now")
    assert measure_drift(before, now, str(tmp_path / "report.json")).outcome is DriftOutcome.STEADY
    assert json.loads((tmp_path / "report.json").read_text())["reference_rows"] == 600
    same = str(tmp_path / "same"), pin(str(elsewhere.root / "parcels.parquet"), tmp_path / "same")
    assert "is the reference itself" in measure_drift(before, same, str(tmp_path / "report.json")).detail


def test_a_release_of_an_earlier_version_is_verified_and_scored_although_it_carries_none(
    project: Project, trained: Trained, tmp_path: Path
) -> None:
    layer = shutil.copytree(trained.package(), tmp_path / "old", ignore=shutil.ignore_patterns("__pycache__"))
    manifest = json.loads((layer / "manifest.json").read_text())
    del manifest["drift_reference"], manifest["data"]["snapshot_source"]
    (layer / "manifest.json").write_text(json.dumps(manifest))
    make_first_champion(project, layer)
    (release,) = open_releases(project).list()
    assert "drift_reference" not in release.manifest
    assert not any(verdict.failed for verdict in open_releases(project).verify(release.digest))
    rows = make_rows(20, 7)
    (scores,) = score_in_process(open_releases(project).unpack(release.digest), release.digest, rows)
    assert len(scores) == 20
    assert list(read_drift_reference(project, release).columns) == FEATURES
    shutil.rmtree(project.state / "snapshots")
    assert read_champion_training_rows(project, read_champion(project), present="sha256:other")[1] == (), (
        "data.snapshot has the same bytes"
    )


def test_a_reference_that_cannot_be_frozen_is_a_warning_and_the_model_is_trained(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DRIFT__COLUMNS", '["height"]')
    pinned = pin("", tmp_path / "snapshot")
    found = train(str(tmp_path / "snapshot"), pinned, tmp_path / "model", tmp_path / "reference")
    assert read_reference(tmp_path / "reference") is None
    assert [warning["kind"] for warning in found["warnings"] if "no column 'height'" in warning["text"]] == ["no-drift-reference"]
    assert (tmp_path / "model").exists()


def lose_training_data(project: Project, trained: Trained, source: str) -> None:
    """Make a champion of an earlier kind, without a carried reference, whose manifest names a source."""
    make_first_champion(project, trained.package(snapshot_source=source))
    shutil.rmtree(project.state / "snapshots")


def test_the_training_data_are_fetched_from_where_they_came_from_and_verified(
    project: Project, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = tmp_path / "now.parquet"
    make_rows(600, 7).to_parquet(now)
    monkeypatch.setenv("SLUICE_DATA__SNAPSHOT", str(now))
    source = "memory://carried/parcels.parquet"
    lose_training_data(project, trained, source)
    present = read_project(project.root)
    with pytest.raises(DataError, match=r"the training data of release 1 \(.*\) is not in .*, and its source cannot be read"):
        compare_sources(present)
    with fsspec.open(source, "wb") as file:
        file.write((project.root / "parcels.parquet").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"and its source memory://carried/parcels\.parquet has other contents now"):
        compare_sources(present)
    _, (why,) = read_champion_training_rows(present, read_champion(present), present=digest_file(now))
    assert "has other contents now" in why
    with fsspec.open(source, "wb") as file:
        file.write((project.root / "parcels.parquet").read_bytes())
    assert compare_sources(present, current=str(project.root / "holdout.parquet")).reference_rows == 600
    rows, unknown = read_champion_training_rows(present, read_champion(present), present=digest_file(now))
    assert ([len(found) for found in rows.values()], unknown) == ([600], ())


@pytest.mark.parametrize(
    ("source", "recorded"),
    [
        ("parcels.parquet", "parcels.parquet"),
        ("{root}/parcels.parquet", "parcels.parquet"),
        ("/somewhere/else.parquet", ""),
        ("s3://bucket/a.parquet", "s3://bucket/a.parquet"),
        ("https://ann:secret@host:8443/a.parquet?signature=1#x", "https://host:8443/a.parquet"),
        ("zip://a.csv::https://token@host/b.zip?sig=2", "zip://a.csv::https://host/b.zip"),
        ("https://ann:se@cret@host/a.parquet", "https://host/a.parquet"),
        ("s3://bucket/folder@2/a.parquet", "s3://bucket/folder@2/a.parquet"),
    ],
)
def test_a_recorded_source_holds_no_credentials_and_no_path_of_this_machine(project: Project, source: str, recorded: str) -> None:
    assert record_source(project, source.format(root=project.root)) == recorded
