"""Package a fitted model, its golden rows, its code and its manifest as one model layer."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import holdout_digest
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError
from sluice.release.golden_rows import GOLDEN_FILE
from sluice.release.manifest import ManifestInputs, plan_manifest, read_code_version, write_json
from sluice.release.model_layer import (
    CACHE_FOLDER,
    CODE_FOLDER,
    DRIFT_REFERENCE_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    layer_digest,
)
from sluice.release.model_libraries.closures import read_training_fingerprint
from sluice.release.models.model_files import read_model
from sluice.release.store.unpacked_layers import UNPACKED_FOLDER, draft_folder, place_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.project.projects import Project
    from sluice.release.golden_rows import GoldenRows

_IGNORE = shutil.ignore_patterns(CACHE_FOLDER, "*.pyc", ".*")
"""What a package's folder contains and a release does not."""


def build_release(  # noqa: PLR0913 - what a release binds; each is named at the call
    project: Project,
    *,
    model: Path,
    model_digest: str,
    golden: GoldenRows,
    snapshot_digest: str,
    verdicts: Mapping[str, Sequence[Mapping[str, Any]]],
    gate: Mapping[str, Any] | None,
    parent: str | None,
    snapshot_source: str = "",
    drift_reference: Mapping[str, Any] | None = None,
) -> Path:
    """Make the model layer of a fitted model, which is copied and never loaded.

    Args:
        project: The project.
        model: The fitted pipeline, written with joblib.
        model_digest: The digest that training recorded. A file with another one is not packaged.
        golden: The golden rows with this model's answers (`sluice.release.golden_answers`).
        snapshot_digest: The digest of the data that the model was fitted on.
        verdicts: Test layer (``code``, ``data``, ``model``) → its verdicts as plain JSON.
        gate: The gate's public decision. None if the gate was not asked.
        parent: The digest of the champion. None if there is no champion.
        snapshot_source: Where that data came from, without credentials; empty if it is not recorded.
        drift_reference: The frozen reference for drift as JSON. None if there is none.

    Returns:
        The layer's folder, ``unpacked/<hex digits of its digest>`` in the project's state folder, where the release store looks
        for unpacked layers. The same inputs give the same folder.

    Raises:
        ConfigurationError: A path in project.packages or serving.lock does not exist.
        DataError: The holdout or the model cannot be read.
        IntegrityError: The model does not have the digest, the holdout is not the declared one, or a package contains a link.
    """
    settings = project.settings
    stored = read_model(model, model_digest)
    inputs = ManifestInputs(
        project=settings.project.name,
        code=read_code_version(project.root),
        model_digest=model_digest,
        build=settings.model.build,
        parameters=settings.model.parameters,
        snapshot_digest=snapshot_digest,
        holdout_digest=holdout_digest(project),
        lock_digest=read_lock_digest(project),
        fingerprint=read_training_fingerprint(project),
        verdicts=verdicts,
        gate=gate,
        parent=parent,
        snapshot_source=snapshot_source,
        drift_reference=_describe_reference(drift_reference),
    )
    return _write_layer_folder(project, stored, golden, inputs, drift_reference)


def _describe_reference(reference: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the manifest says about the frozen reference."""
    if reference is None:
        return None
    digest = f"sha256:{hashlib.sha256(write_json(reference, sort=False)).hexdigest()}"
    return {"file": DRIFT_REFERENCE_FILE, "digest": digest, "rows": reference["rows"]}


def read_lock_digest(project: Project) -> str:
    """Return the digest of the serving environment's lock file.

    Raises:
        ConfigurationError: The file does not exist.
    """
    lock = project.path(project.settings.serving.lock)
    if not lock.is_file():
        raise ConfigurationError(
            f"serving.lock names {project.settings.serving.lock!r}, but there is no file {lock}",
            hint="Set serving.lock to the lock file that the serving environment was made from.",
        )
    return digest_file(lock)


def check_sources(project: Project) -> None:
    """Check before anything is spent on a model that what its release is made from exists: the packages and the lock.

    Raises:
        ConfigurationError: A path in project.packages or serving.lock does not exist.
    """
    read_lock_digest(project)
    for package in project.settings.project.packages:
        _find_package(project, package)


def _write_layer_folder(
    project: Project, model: bytes, golden: GoldenRows, inputs: ManifestInputs, drift_reference: Mapping[str, Any] | None
) -> Path:
    """Write the layer in a temporary folder and move it to its place in one step."""
    unpacked = project.state / UNPACKED_FOLDER
    with draft_folder(unpacked) as name:
        draft = Path(name) / "layer"
        draft.mkdir()
        (draft / MODEL_FILE).write_bytes(model)
        (draft / GOLDEN_FILE).write_bytes(write_json(golden.to_dict()))
        (draft / MANIFEST_FILE).write_bytes(write_json(plan_manifest(inputs, golden)))
        if drift_reference is not None:
            (draft / DRIFT_REFERENCE_FILE).write_bytes(write_json(drift_reference, sort=False))
        for package in project.settings.project.packages:
            _copy_package(project, package, draft / CODE_FOLDER)
        return place_layer(draft, unpacked, layer_digest(draft))


def _find_package(project: Project, package: str) -> Path:
    source = project.path(package)
    if not source.is_dir() or project.root not in source.resolve().parents:
        raise ConfigurationError(
            f"project.packages names {package!r}, which is not a folder below {project.root}",
            hint="List the folders with the Python code that the fitted model needs, or leave project.packages out.",
        )
    return source


def digest_packages(project: Project) -> dict[str, str]:
    """Return path of each file of project.packages → its digest, as `digest_code` returns them for a release with this code.

    Raises:
        ConfigurationError: A path in project.packages does not exist.
    """
    digests: dict[str, str] = {}
    for package in project.settings.project.packages:
        source = _find_package(project, package)
        for parent, folders, names in os.walk(source):
            left_out = _IGNORE(parent, [*folders, *names])
            folders[:] = [name for name in folders if name not in left_out]
            files = (Path(parent, name) for name in names if name not in left_out)
            digests |= {f"{package}/{file.relative_to(source).as_posix()}": digest_file(file) for file in files}
    return digests


def _copy_package(project: Project, package: str, code: Path) -> None:
    source = _find_package(project, package)
    # Links are copied as links, so that the check of the layer finds and refuses them.
    shutil.copytree(source, code / package, symlinks=True, ignore=_IGNORE)
