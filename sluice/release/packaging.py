"""A fitted model, its golden rows, its code and its manifest put into one model layer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from threadpoolctl import threadpool_limits

from sluice.data.holdout import holdout_digest, read_holdout
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, DataError, IntegrityError
from sluice.release.fingerprint import read_fingerprint
from sluice.release.golden import GOLDEN_FILE, Golden, make_golden
from sluice.release.layer import CACHE_FOLDER, CODE_FOLDER, LOAD_ERRORS, MANIFEST_FILE, MODEL_FILE, layer_digest
from sluice.release.manifest import Inputs, plan_manifest, read_code, write_json
from sluice.release.store.unpacked import FOLDER, draft_folder, place_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.project.projects import Project


def build_release(
    project: Project,
    *,
    model: Path,
    snapshot_digest: str,
    verdicts: Mapping[str, Sequence[Mapping[str, Any]]],
    gate: Mapping[str, Any] | None,
    parent: str | None,
) -> Path:
    """Make the model layer of a fitted model.

    The bytes of `model` must have been held against the digest of training before: the model is loaded here to answer the
    golden rows.

    Args:
        project: The project.
        model: The fitted pipeline, written with joblib.
        snapshot_digest: Digest of the data that it was fitted on.
        verdicts: Layer (``code``, ``data``, ``model``) → its verdicts as plain JSON.
        gate: The gate's public decision; None when it was not asked.
        parent: Digest of the champion; None before the first.

    Returns:
        The layer's folder, ``unpacked/<hex digits of its digest>`` below the project's state: a store that adds it has it
        unpacked already. The same inputs give the same folder.

    Raises:
        ConfigurationError: project.packages or serving.lock names something that is not there.
        DataError: The holdout or the model cannot be read.
        IntegrityError: It is not the declared holdout, or a package holds a link.
        RefusedError: The model does not answer rows of the holdout, or would answer other than it was trained.
    """
    golden = _make_golden(project, model)
    settings = project.settings
    inputs = Inputs(
        project=settings.project.name,
        code=read_code(project.root),
        model_digest=digest_file(model),
        build=settings.model.build,
        parameters=settings.model.parameters,
        snapshot_digest=snapshot_digest,
        holdout_digest=holdout_digest(project),
        lock_digest=read_lock_digest(project),
        fingerprint=read_fingerprint(),
        verdicts=verdicts,
        gate=gate,
        parent=parent,
    )
    return _write_layer_folder(project, model, golden, inputs)


def read_lock_digest(project: Project) -> str:
    """Digest of the serving environment's lock.

    Raises:
        ConfigurationError: It is not there.
    """
    lock = project.path(project.settings.serving.lock)
    if not lock.is_file():
        raise ConfigurationError(
            f"serving.lock names {project.settings.serving.lock!r}, but there is no file {lock}",
            hint="Name the lock file that the serving environment was made from.",
        )
    return digest_file(lock)


def _make_golden(project: Project, model: Path) -> Golden:
    features = read_holdout(project, part="test").features
    project.put_first_on_path()
    try:
        fitted = joblib.load(model)
    except FileNotFoundError as error:
        raise DataError(f"there is no model file {model}", hint="Train one: `sluice run`.") from error
    except LOAD_ERRORS as error:
        raise DataError(
            f"the model {model} cannot be loaded: {type(error).__name__}: {error}",
            hint="Train it again with the project's present code: `sluice run`.",
        ) from error
    with threadpool_limits(1):
        return make_golden(fitted, features)


def _write_layer_folder(project: Project, model: Path, golden: Golden, inputs: Inputs) -> Path:
    """Write the layer beside its place and move it there as a whole."""
    unpacked = project.state / FOLDER
    with draft_folder(unpacked) as name:
        draft = Path(name) / "layer"
        draft.mkdir()
        shutil.copyfile(model, draft / MODEL_FILE)
        if digest_file(draft / MODEL_FILE) != inputs.model_digest:
            raise IntegrityError(f"the model {model} changed while it was packaged", hint="Package it again: `sluice run`.")
        (draft / GOLDEN_FILE).write_bytes(write_json(golden.to_dict()))
        (draft / MANIFEST_FILE).write_bytes(write_json(plan_manifest(inputs, golden)))
        for package in project.settings.project.packages:
            _copy_package(project, package, draft / CODE_FOLDER)
        return place_layer(draft, unpacked, layer_digest(draft))


def _copy_package(project: Project, package: str, code: Path) -> None:
    source = project.path(package)
    if not source.is_dir() or project.root not in source.resolve().parents:
        raise ConfigurationError(
            f"project.packages names {package!r}, which is no folder below {project.root}",
            hint="Name the folders with the Python code that the fitted model needs, or leave it out.",
        )
    # Links are kept as links, so that the layer's own check refuses them.
    shutil.copytree(source, code / package, symlinks=True, ignore=shutil.ignore_patterns(CACHE_FOLDER, "*.pyc", ".*"))
