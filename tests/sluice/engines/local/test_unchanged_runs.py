"""A retraining on the local engine trains nothing if the champion was made from the same snapshot and the same code."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from champions import make_first_champion
from release_fixtures import trained
from release_project import REPOSITORY, make_rows

from sluice.engines.local.engine import LocalEngine
from sluice.engines.local.runs import find_run_with_same_inputs, read_run
from sluice.engines.outcomes import exit_code_of
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path

    from release_project import Trained

__all__ = ["trained"]

FLOW = """
from kfp import dsl

from components.pin_snapshot import pin_snapshot
from components.train import train


@dsl.pipeline(name="retrain")
def retrain(snapshot: str = ""):
    pinned = pin_snapshot(location=snapshot, compare=True)
    with dsl.If(pinned.outputs["Output"] == True):
        train(snapshot=pinned.outputs["snapshot"])
"""


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "copy"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice"))
    for name in ("sluice", "components"):  # the child process must run this code, not an installed version
        (root / name).symlink_to(REPOSITORY / name)
    (root / "flows.py").write_text(FLOW)
    settings = (root / "sluice.toml").read_text().replace('"parcels.parquet"', '"exports/parcels-*.parquet"')
    (root / "sluice.toml").write_text(f'{settings}\n[pipelines]\nretrain = "flows:retrain"\n')
    (root / "exports").mkdir()
    make_rows(600, 9).to_parquet(root / "exports" / "parcels-9.parquet")
    monkeypatch.delenv("SLUICE_STATE", raising=False)
    return read_project(root)


def retrain(project: Project) -> dict[str, Any]:
    engine = LocalEngine(project)
    run = engine.submit("retrain", {"snapshot": ""})
    list(engine.events(run))
    document = read_run(engine.folder(run))
    assert document["outcome"] != "failed", (engine.folder(run) / "log.txt").read_text()[-3000:]
    return document


def names(document: dict[str, Any]) -> list[str]:
    return [step["name"] for step in document["steps"] if step["name"] != "preflight"]


@pytest.mark.slow
def test_the_second_retraining_trains_nothing_until_there_is_a_newer_snapshot(project: Project, trained: Trained) -> None:
    first = retrain(project)
    assert (first["outcome"], names(first)) == ("passed", ["pin-snapshot", "train"])
    assert first["snapshot"]["source"] == "exports/parcels-9.parquet"
    assert first["snapshot"]["novelty"] == "there is no champion yet"
    training = first["training"]
    layer = trained.package(snapshot_digest=training["snapshot_digest"], snapshot_source=training["snapshot_source"])
    make_first_champion(project, layer)

    second = retrain(project)
    assert (second["outcome"], names(second), second["training"]) == ("unchanged", ["pin-snapshot"], None)
    assert second["reason"].startswith("release 1, the champion, was made from this snapshot (sha256:")
    assert second["reason"].endswith("and this code, so nothing was trained")
    assert exit_code_of(second["outcome"], second["steps"]) == 0
    # Another champion would make the same inputs new, so no later run is left out because of this one.
    reused = find_run_with_same_inputs(project, second["inputs"])
    assert reused is not None
    assert reused["id"] == first["id"]

    make_rows(600, 10).to_parquet(project.root / "exports" / "parcels-10.parquet")
    third = retrain(project)
    assert (third["outcome"], names(third)) == ("passed", ["pin-snapshot", "train"])
    assert third["snapshot"]["source"] == "exports/parcels-10.parquet"
    assert "was made from another snapshot" in json.dumps(third["snapshot"])
