from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import joblib
import pytest

from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, DataError, IntegrityError
from sluice.project.projects import read_project
from sluice.release.golden_answers import load_and_answer
from sluice.release.manifest import read_code_version, write_json
from sluice.release.model_layer import layer_digest
from sluice.release.model_libraries.closures import read_training_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from release_project import Trained


@pytest.fixture
def apart(trained: Trained, tmp_path: Path) -> Trained:
    """A copy of the project that the test may change."""
    root = tmp_path / "apart"
    shutil.copytree(trained.project.root, root, ignore=shutil.ignore_patterns(".sluice", "__pycache__"))
    return dataclasses.replace(trained, project=read_project(root), model=root / "model.joblib")


def read_manifest(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_layer_contains_model_golden_rows_manifest_and_code(layer: Path) -> None:
    files = sorted(str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file() and path.suffix != ".pyc")
    code = ["code/parcels/__init__.py", "code/parcels/features.py", "code/parcels/model.py"]
    assert files == [*code, "golden.json", "manifest.json", "model.joblib"]


def test_the_folders_name_is_the_digest(layer: Path) -> None:
    assert layer_digest(layer) == f"sha256:{layer.name}"


def test_the_manifest_records_code_data_model_and_environment(trained: Trained, layer: Path) -> None:
    manifest = read_manifest(layer)
    project = trained.project
    assert manifest["project"] == "parcels"
    assert manifest["code"] == {"commit": "", "dirty": True}
    assert manifest["model"] == {
        "digest": digest_file(trained.model),
        "build": "parcels.model:build",
        "parameters": {"strength": 1.0},
    }
    assert manifest["data"] == {
        "snapshot_digest": digest_file(project.path("parcels.parquet")),
        "snapshot_source": "",
        "holdout_digest": digest_file(project.path("holdout.parquet")),
    }
    assert manifest["environment"] == {
        "lock_digest": digest_file(project.path("lock.txt")),
        "fingerprint": read_training_fingerprint(project),
    }
    assert manifest["gate"] == {"promote": True, "first": True, "unproven": True}
    assert manifest["verdicts"]["model"][0]["check"] == "auc"  # type: ignore[index]
    assert manifest["parent"] is None


def test_the_same_inputs_give_the_same_release(trained: Trained, apart: Trained, layer: Path) -> None:
    os.utime(apart.model, (1, 1))
    (apart.project.root / "parcels" / "features.py").chmod(0o600)
    assert trained.package() == layer
    assert apart.package().name == layer.name
    assert str(apart.project.root) not in (layer / "manifest.json").read_text()


@pytest.mark.parametrize("change", ["parent", "verdicts", "gate", "code", "lock", "parameters", "model", "holdout"])
def test_another_input_gives_another_release(apart: Trained, layer: Path, change: str) -> None:
    root = apart.project.root
    changes: dict[str, object] = {}
    if change == "parent":
        changes = {"parent": "sha256:" + "0" * 64}
    elif change == "verdicts":
        changes = {"verdicts": {"code": []}}
    elif change == "gate":
        changes = {"gate": None}
    elif change == "code":
        (root / "parcels" / "model.py").write_text((root / "parcels" / "model.py").read_text() + "\n")
    elif change == "lock":
        (root / "lock.txt").write_text("numpy==2\n")
    elif change == "parameters":
        text = (root / "sluice.toml").read_text().replace("strength = 1.0", "strength = 2.0")
        (root / "sluice.toml").write_text(text)
        apart = dataclasses.replace(apart, project=read_project(root))
    elif change == "model":
        joblib.dump(joblib.load(apart.model), apart.model, compress=1)
    else:
        shutil.copyfile(root / "parcels.parquet", root / "holdout.parquet")
    assert apart.package(**changes).name != layer.name


def test_a_missing_package_is_an_error(apart: Trained) -> None:
    (apart.project.root / "sluice.toml").write_text(
        (apart.project.root / "sluice.toml").read_text().replace('["parcels"]', '["nowhere"]')
    )
    with pytest.raises(ConfigurationError, match=r"project\.packages names 'nowhere'"):
        dataclasses.replace(apart, project=read_project(apart.project.root)).package()


def test_a_package_outside_the_project_is_an_error(apart: Trained) -> None:
    (apart.project.root / "sluice.toml").write_text(
        (apart.project.root / "sluice.toml").read_text().replace('["parcels"]', '[".."]')
    )
    with pytest.raises(ConfigurationError, match=r"project\.packages names '\.\.'"):
        dataclasses.replace(apart, project=read_project(apart.project.root)).package()


def test_a_missing_lock_file_is_an_error(apart: Trained) -> None:
    (apart.project.root / "lock.txt").unlink()
    with pytest.raises(ConfigurationError, match=r"serving\.lock names 'lock\.txt'"):
        apart.package()


def test_a_missing_model_is_an_error(apart: Trained) -> None:
    digest = digest_file(apart.model)
    apart.model.unlink()
    with pytest.raises(DataError, match=r"the model .*model\.joblib cannot be read: No such file"):
        load_and_answer(apart.project, apart.model, digest)


@pytest.mark.parametrize("content", [b"no model", b"junk\n"])
def test_a_file_that_is_not_a_model_is_an_error(apart: Trained, content: bytes) -> None:
    apart.model.write_bytes(content)
    with pytest.raises(DataError, match="cannot be loaded"):
        apart.package()


def test_a_link_in_a_package_is_an_error(apart: Trained) -> None:
    (apart.project.root / "parcels" / "secret.py").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match=r"secret\.py is neither a file nor a folder"):
        apart.package()


def test_a_failed_packaging_leaves_no_files(apart: Trained) -> None:
    (apart.project.root / "parcels" / "secret.py").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError):
        apart.package()
    assert list((apart.project.state / "unpacked").iterdir()) == []


def test_a_verdict_that_json_cannot_represent_is_an_error(apart: Trained) -> None:
    with pytest.raises(DataError, match="cannot be written as JSON"):
        apart.package(verdicts={"model": [{"observed": float("nan")}]})


def test_the_commit_and_whether_files_differ_from_it_are_read(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(["git", "-C", tmp_path, *names, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    code = read_code_version(tmp_path)
    assert (code.commit, code.dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "b").write_text("2")
    assert read_code_version(tmp_path).dirty


def test_one_value_has_one_json_text() -> None:
    assert write_json({"b": 0.1 + 0.2, "a": ["ü", None]}) == '{"a":["ü",null],"b":0.30000000000000004}\n'.encode()


def test_the_layer_carries_the_reference_for_drift_and_the_manifest_names_it(trained: Trained) -> None:
    reference = {"rows": 600, "columns": {}}
    layer = trained.package(drift_reference=reference, snapshot_source="s3://bucket/parcels.parquet")
    manifest = read_manifest(layer)
    file = layer / "drift_reference.json"
    assert json.loads(file.read_text()) == reference
    assert manifest["drift_reference"] == {"file": "drift_reference.json", "digest": digest_file(file), "rows": 600}
    assert manifest["data"]["snapshot_source"] == "s3://bucket/parcels.parquet"
    without = trained.package()
    assert read_manifest(without)["drift_reference"] is None
    assert not (without / "drift_reference.json").exists()
