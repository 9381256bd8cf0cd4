"""The step that trains: the project's own build function, fitted on the pinned snapshot, written once and named by its digest."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.holdout import read_labelled_rows
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, IntegrityError
from sluice.project.projects import Project, read_project
from sluice.steps.records import record_part, running_step
from sluice.steps.snapshots import reopen

if TYPE_CHECKING:
    from collections.abc import Mapping


def train(snapshot: str, snapshot_metadata: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Fit the project's model and write it with joblib.

    Args:
        snapshot: Local path of the pinned snapshot's artifact.
        snapshot_metadata: Its metadata, with the digest.
        target: Where the fitted Pipeline goes.

    Returns:
        The artifact's metadata: ``digest``, ``snapshot_digest``, ``rows``, ``seconds``.

    Raises:
        ConfigurationError: ``model.build`` does not give something that fits and predicts probabilities.
        DataError: The snapshot breaks the loader's contract.
    """
    project = read_project()
    with running_step("train") as step:
        pinned = reopen(project, Path(snapshot), snapshot_metadata)
        rows = read_labelled_rows(project, pinned, source=str(snapshot_metadata.get("source", "")))
        model = build_model(project)
        started = time.monotonic()
        model.fit(rows.features, rows.labels)
        seconds = time.monotonic() - started
        target.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, target)
        metadata = {
            "digest": digest_file(target),
            "snapshot_digest": snapshot_metadata["digest"],
            "rows": len(rows.labels),
            "seconds": round(seconds, 3),
        }
        keep_latest(project, target, metadata["digest"])
        record_part("training", metadata)
        step.detail = f"{len(rows.labels):,} rows in {seconds:.1f} s"
    return metadata


def build_model(project: Project) -> Any:  # noqa: ANN401 - scikit-learn has no typed interface
    """Call the project's build function with the parameters of sluice.toml.

    Raises:
        ConfigurationError: The parameters do not fit the function, or what it gives is no classifier.
    """
    settings = project.settings.model
    build = project.load_object(settings.build, key="model.build")
    try:
        model = build(**settings.parameters)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"model.build {settings.build} refused model.parameters {settings.parameters}: {error}",
            hint="Correct model.parameters in sluice.toml.",
        ) from error
    if not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
        raise ConfigurationError(
            f"model.build {settings.build} gave a {type(model).__name__}, which has no fit and predict_proba",
            hint="Return one unfitted scikit-learn Pipeline that ends in a classifier.",
        )
    return model


def keep_latest(project: Project, model: Path, digest: str) -> None:
    """Let `sluice test model` and a bare pytest find the model that was trained last.

    The file is named by its digest and `latest` names that file, so that a reader never meets a half-written model.
    """
    folder = project.state / LATEST_MODEL.parent
    folder.mkdir(parents=True, exist_ok=True)
    named = folder / f"{digest.removeprefix('sha256:')}.joblib"
    draft = named.with_suffix(".draft")
    shutil.copyfile(model, draft)
    draft.replace(named)
    link = folder / f".{LATEST_MODEL.name}.draft"
    link.unlink(missing_ok=True)
    link.symlink_to(named.name)
    link.replace(project.state / LATEST_MODEL)


def checked_model(artifact: Path, metadata: Mapping[str, Any]) -> Path:
    """The model's path, after its bytes were held against the digest that training recorded.

    Raises:
        IntegrityError: They differ; the file must not be loaded, since loading runs what is in it.
    """
    found = digest_file(artifact)
    if found != metadata["digest"]:
        raise IntegrityError(
            f"the model {artifact} has digest {found}, not {metadata['digest']} as trained",
            hint="Do not load it. Train again: `sluice run`.",
        )
    return artifact
