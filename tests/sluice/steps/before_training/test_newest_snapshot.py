"""Each place that reads the training data takes the newest snapshot, and a release names the file that it was made from."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from champions import make_champion, make_first_champion
from release_project import make_rows

from sluice.checks.expectation_files import propose_suite
from sluice.checks.suites.inputs import find_snapshot
from sluice.data.snapshots import digest_data, digest_file
from sluice.engines.local.runs import inputs_digest
from sluice.errors import DataError, IntegrityError
from sluice.project.projects import Project, read_project
from sluice.release.project_releases import open_releases
from sluice.release.store.releases import ReleaseStore
from sluice.steps.champions import locate_training_data
from sluice.steps.drift import compare_sources
from sluice.steps.holdouts.statuses import read_present_training_rows
from sluice.steps.snapshots import pin, pin_data, pin_reference, restore_snapshot
from sluice.steps.standalone.layers import train_now
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from release_project import Trained

NEWEST = "exports/parcels-10.parquet"


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project with three exports, of which number 10 is the newest."""
    root = tmp_path / "copy"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice"))
    (root / "exports").mkdir()
    for number in (8, 9, 10):
        make_rows(600, number).to_parquet(root / "exports" / f"parcels-{number}.parquet")
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    return configure(root, 'snapshot = "exports/parcels-*.parquet"')


def configure(root: Path, line: str) -> Project:
    file = root / "sluice.toml"
    lines = [line if old.startswith("snapshot") else old for old in file.read_text().splitlines()]
    file.write_text("\n".join(lines))
    return read_project(root)


def take_artifact(step: Callable[..., dict[str, Any]], location: str) -> Callable[[Project], str]:
    return lambda project: str(step(location, project.root.parent / "artifact")["digest"])


def train_on_it(project: Project) -> str:
    train_now(project)
    return str(json.loads((project.state / "models" / "training.json").read_text())["snapshot_digest"])


PLACES: dict[str, Callable[[Project], str]] = {
    "the first step": take_artifact(pin, ""),
    "the first step, by an argument": take_artifact(pin, "exports/p*s-*.parquet"),
    "the reference for drift, by an argument": take_artifact(pin_reference, "exports/parcels-*.parquet"),
    "a plain pytest": lambda project: find_snapshot(project, None).digest,
    "proposed expectations": lambda project: propose_suite(project).snapshot.digest,
    "holdout status": lambda project: read_present_training_rows(project)[0],
    "one layer on its own": lambda project: pin_data(project).digest,
    "a training outside a run": train_on_it,
}


@pytest.mark.parametrize("place", PLACES)
def test_each_place_reads_the_newest_snapshot(project: Project, place: str) -> None:
    assert PLACES[place](project) == digest_file(project.root / NEWEST)


@pytest.mark.parametrize("by", ["a pattern", "a command"])
def test_record_training_and_manifest_name_the_file_and_not_the_pattern(
    project: Project, trained: Trained, tmp_path: Path, by: str
) -> None:
    if by == "a command":
        program = f"print('{NEWEST}')"
        project = configure(project.root, f'snapshot_command = ["{sys.executable}", "-c", "{program}"]')
    pinned = pin("", tmp_path / "snapshot")
    assert (pinned["source"], pinned["configured"]) == (NEWEST, True)
    assert pinned["origin"].startswith("the last of 3 that match" if by == "a pattern" else "data.snapshot_command (")
    training = train(str(tmp_path / "snapshot"), pinned, tmp_path / "model", tmp_path / "reference")
    assert training["snapshot_source"] == NEWEST
    layer = trained.package(snapshot_digest=pinned["digest"], snapshot_source=training["snapshot_source"])
    assert json.loads((layer / "manifest.json").read_text())["data"]["snapshot_source"] == NEWEST


def test_the_newest_folder_of_parquet_files_is_pinned_passed_on_trained_on_and_compared(
    project: Project, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for week in (9, 10):
        (project.root / "weekly" / str(week)).mkdir(parents=True)
        for part in (0, 1):
            rows = make_rows(300, 100 * week + part)
            rows.to_parquet(project.root / "weekly" / str(week) / f"part-{part}.parquet")
    project = configure(project.root, 'snapshot = "weekly/*"')
    pinned = pin("", tmp_path / "artifact")
    assert (pinned["source"], pinned["suffix"]) == ("weekly/10", ".parquet")
    assert pinned["digest"] == digest_data(project.root / "weekly" / "10")
    # A later step in another pod has the artifact and nothing else.
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "other-pod"))
    restored = restore_snapshot(read_project(project.root), tmp_path / "artifact", pinned)
    assert digest_data(restored) == pinned["digest"]
    training = train(str(tmp_path / "artifact"), pinned, tmp_path / "model", tmp_path / "reference")
    assert (training["rows"], training["snapshot_source"]) == (600, "weekly/10")
    assert json.loads((tmp_path / "reference").read_text())["rows"] == 600
    layer = trained.package(snapshot_digest=digest_data(project.root / "weekly" / "9"), snapshot_source="weekly/9")
    make_champion(project, ReleaseStore(read_project(project.root).state / "releases").add(layer).digest)
    result = compare_sources(read_project(project.root))
    assert (result.reference_rows, result.rows) == (600, 600)
    (restored / "part-1.parquet").unlink()
    with pytest.raises(IntegrityError, match="does not have the digest"):
        restore_snapshot(read_project(project.root), tmp_path / "artifact", pinned)
    shutil.rmtree(restored)
    (tmp_path / "artifact" / "part-1.parquet").unlink()
    with pytest.raises(IntegrityError, match="does not have the digest"):
        restore_snapshot(read_project(project.root), tmp_path / "artifact", pinned)


def test_a_path_outside_the_project_is_recorded_only_if_sluice_toml_leads_to_it(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(project.root / "exports", outside)
    configure(project.root, f'snapshot = "{outside}/parcels-*.parquet"')

    def record(location: str) -> str:
        pinned = pin(location, tmp_path / "snapshot")
        return str(train(str(tmp_path / "snapshot"), pinned, tmp_path / "model")["snapshot_source"])

    assert record("") == f"{outside}/parcels-10.parquet"
    assert record(f"{outside}/parcels-9.parquet") == ""


def test_drift_compares_the_newest_snapshot_with_the_one_that_the_champion_was_trained_on(
    project: Project, trained: Trained
) -> None:
    older = project.root / "exports" / "parcels-9.parquet"
    layer = trained.package(snapshot_digest=digest_file(older), snapshot_source="exports/parcels-9.parquet")
    make_first_champion(project, layer)
    shutil.rmtree(project.state / "snapshots")
    (release,) = open_releases(project).list()
    found, _ = locate_training_data(project, release)
    assert found is not None
    assert found.digest == digest_file(older), "the manifest names the older match"
    result = compare_sources(project)
    assert (result.reference_rows, result.rows, result.drifted) == (600, 600, [])


def test_a_newer_match_changes_the_inputs_of_a_run_and_an_older_one_does_not(project: Project) -> None:
    first = inputs_digest(project, "retrain", {"snapshot": ""})
    make_rows(50, 7).to_parquet(project.root / "exports" / "parcels-7.parquet")
    assert inputs_digest(project, "retrain", {"snapshot": ""}) == first
    make_rows(50, 11).to_parquet(project.root / "exports" / "parcels-11.parquet")
    assert inputs_digest(project, "retrain", {"snapshot": ""}) != first


def test_the_first_step_and_not_the_engine_says_that_nobody_knows_the_newest_snapshot(project: Project, tmp_path: Path) -> None:
    lost = configure(project.root, 'snapshot = "exports/none-*.parquet"')
    assert inputs_digest(lost, "retrain", {"snapshot": ""}).startswith("sha256:")
    with pytest.raises(DataError, match="matches no file"):
        pin("", tmp_path / "snapshot")
