"""Whether there is anything new to train: each thing that a model is made from counts, and nothing else does."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from champions import make_first_champion

from sluice.errors import IntegrityError
from sluice.project.projects import Project, read_project
from sluice.release.model_layer import digest_code
from sluice.release.packaging import digest_packages
from sluice.release.project_releases import open_releases
from sluice.steps.before_training.novelty import Novelty, find_changed_files, find_differences, judge_novelty
from sluice.steps.champions import read_champion
from sluice.steps.snapshots import pin

if TYPE_CHECKING:
    from pathlib import Path

    from release_project import Trained


@pytest.fixture
def project(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project. Its champion was made from what is there."""
    root = tmp_path / "copy"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice"))
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SLUICE_ROOT", str(root))
    make_first_champion(read_project(root), trained.package())
    return read_project(root)


def judge(project: Project) -> Novelty:
    """Judge in the present state of the folder, as the first step of a run does."""
    target = project.root.parent / "artifact"
    target.unlink(missing_ok=True)
    found = pin("", target, compare=True)
    later = read_project(project.root)
    novelty = judge_novelty(later, read_champion(later), snapshot_digest=found["digest"])
    assert (found["new"], found["novelty"]) == (novelty.new, novelty.detail)
    return novelty


def edit(project: Project, old: str, new: str) -> None:
    file = project.root / "sluice.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_the_parts_that_differ_are_named_in_order() -> None:
    champion = {"snapshot": "a", "holdout": "b", "lock": None}
    assert find_differences(champion, champion) == ()
    assert find_differences({"snapshot": "x", "holdout": "b", "lock": "c"}, champion) == ("snapshot", "lock")
    assert find_differences({"snapshot": "a", "new": None}, champion) == ("new",)


def test_changed_added_and_removed_files_are_named() -> None:
    champion = {"a.py": "1", "b.py": "2", "c.py": "3"}
    assert find_changed_files(champion, champion) == ()
    assert find_changed_files({"a.py": "1", "b.py": "9", "d.py": "4"}, champion) == ("b.py", "c.py", "d.py")


def test_without_a_champion_everything_is_new(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    project = read_project(trained.project.root)
    assert read_champion(project) is None
    found = judge_novelty(project, None, snapshot_digest="sha256:a")
    assert found == Novelty(new=True, detail="there is no champion yet")


def test_the_same_snapshot_and_code_are_not_new(project: Project) -> None:
    found = judge(project)
    assert not found.new
    assert found.detail.startswith("release 1, the champion, was made from this snapshot (sha256:")
    step = pin("", project.root.parent / "again")
    assert (step["new"], step["novelty"]) == (True, ""), "a pipeline that does not ask trains"


def test_what_a_model_is_not_made_from_is_not_new(project: Project) -> None:
    (project.root / "README.md").write_text("new words")
    (project.root / "parcels" / "__pycache__").mkdir(exist_ok=True)
    (project.root / "parcels" / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"x")
    (project.root / "parcels" / ".hidden").write_text("x")
    edit(project, "[serving]", "[thresholds]\nauc = 0.7\n\n[serving]")
    assert not judge(project).new


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("parcels.parquet", "snapshot"),
        ("holdout.parquet", "holdout"),
        ("lock.txt", "lock"),
        ("parcels/features.py", "has other code: parcels/features.py"),
        ("parcels/added.py", "has other code: parcels/added.py"),
    ],
)
def test_each_other_file_that_a_model_is_made_from_is_new(project: Project, file: str, named: str) -> None:
    if file == "holdout.parquet":  # a holdout that is not declared is remembered by its first digest
        (project.state / "holdout.json").unlink(missing_ok=True)
    source = project.root / ("holdout.parquet" if file == "parcels.parquet" else "parcels.parquet")
    path = project.root / file
    if path.suffix == ".parquet":
        import pandas as pd

        rows = pd.read_parquet(source)
        pd.concat([pd.read_parquet(path), rows.assign(key=rows["key"] + 50_000_000)]).to_parquet(path)
    else:
        path.write_text((path.read_text() if path.exists() else "") + "\n# changed\n")
    found = judge(project)
    assert found.new
    assert named in found.detail


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("strength = 1.0", "strength = 2.0", "another model.parameters"),
        ('"parcels.model:build"', '"parcels.model:make_pipeline"', "another model.build"),
    ],
)
def test_another_model_in_the_settings_is_new(project: Project, old: str, new: str, named: str) -> None:
    edit(project, old, new)
    later = read_project(project.root)
    found = judge_novelty(later, read_champion(later), snapshot_digest=pin("", project.root.parent / "artifact")["digest"])
    assert found.new
    assert named in found.detail


def test_a_file_that_was_removed_is_new(project: Project) -> None:
    (project.root / "parcels" / "features.py").unlink()
    assert "has other code: parcels/features.py" in judge(project).detail


def test_the_code_of_a_project_is_what_its_release_contains(trained: Trained, layer: Path) -> None:
    assert digest_packages(trained.project) == digest_code(layer)
    assert set(digest_code(layer)) == {"parcels/__init__.py", "parcels/model.py", "parcels/features.py"}


def test_an_altered_champion_ends_the_step_and_is_not_taken_for_the_same(project: Project) -> None:
    (release,) = open_releases(project).list()
    for blob in (project.state / "releases" / "blobs" / "sha256").iterdir():
        if blob.name == release.digest.removeprefix("sha256:"):
            blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    shutil.rmtree(project.state / "unpacked", ignore_errors=True)
    with pytest.raises(IntegrityError):
        judge(project)
