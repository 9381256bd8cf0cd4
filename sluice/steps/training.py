"""The step that trains the challenger: it builds the project's model and fits it on the pinned snapshot."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from sluice.checks.judgements import predict_probability
from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.holdout import holdout_digest, read_labelled_rows
from sluice.data.snapshots import digest_file, is_url, strip_credentials
from sluice.drift.project_rows import freeze_file
from sluice.errors import ConfigurationError, IntegrityError, SluiceError
from sluice.leaks.single_features import find_separating_features
from sluice.project.projects import Project, read_project
from sluice.release.manifest import write_json
from sluice.release.models.model_files import load_model
from sluice.run_warnings import RunWarning
from sluice.statistics.psi import build_numeric_reference
from sluice.steps.before_training import requirements
from sluice.steps.before_training.ages import judge_age
from sluice.steps.champions import CHAMPION, read_champion_of_run
from sluice.steps.records import record_part, record_warnings, running_step
from sluice.steps.snapshots import restore_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.holdout import Holdout
    from sluice.data.labelled_rows import LabelledRows


def train(snapshot: str, snapshot_metadata: Mapping[str, Any], target: Path, reference: Path | None = None) -> dict[str, Any]:
    """Check that the model may be trained on the snapshot, fit it, and write it with joblib.

    The training data and the holdout must have no row in common. The check is here, because this step has the rows of the
    training data on every engine.

    Args:
        snapshot: Local path of the pinned snapshot's artifact.
        snapshot_metadata: The snapshot's metadata, with its digest and the champion of the run.
        target: Path to write the fitted model to.
        reference: Path to write the frozen reference for drift to (JSON; ``null`` if nothing can be frozen, which is a warning).
            None to freeze none.

    Returns:
        The artifact's metadata: ``digest``, ``snapshot_digest``, ``snapshot_source``, ``holdout_digest`` (the holdout that the
        snapshot was compared with), ``rows``, ``seconds``, ``warnings``, and ``champion`` if the snapshot's metadata have it.

    Raises:
        ConfigurationError: ``model.build`` does not return a model that can be fitted and stored and that predicts
            probabilities, or a release could not be made of it.
        DataError: The loader cannot read the snapshot or the holdout, its rows are not as the loader promises, or the holdout
            has too few rows of a class.
        IntegrityError: The holdout is not the declared one.
        RefusedError: Rows of the holdout are in the snapshot or in the champion's training data.
    """
    project = read_project()
    with running_step("train") as step:
        model = build_model(project)
        requirements.check_model(project, model)
        pinned = restore_snapshot(project, Path(snapshot), snapshot_metadata)
        rows = read_labelled_rows(project, pinned, source=str(snapshot_metadata.get("source", "")))
        digest, champion = str(snapshot_metadata["digest"]), read_champion_of_run(project, snapshot_metadata)
        holdout, warnings = requirements.check_rows(project, rows, champion, snapshot_digest=digest)
        warnings += [feature.warn() for feature in find_separating_features(rows, holdout.test)]
        age = judge_age(project, champion, holdout, rows, snapshot_digest=digest)
        record_part("holdout", {"digest": holdout.digest, "rows": holdout.count(), **age.to_dict()})
        warnings += [warning] if (warning := age.warn()) else []
        started = time.monotonic()
        model.fit(rows.features, rows.labels)
        seconds = time.monotonic() - started
        target.parent.mkdir(parents=True, exist_ok=True)
        with requirements.storing_errors(project):
            joblib.dump(model, target)
        if reference is not None:
            warnings += write_drift_reference(project, pinned, model, rows, holdout, reference)
        record_warnings("train", warnings)
        metadata: dict[str, Any] = {
            "digest": digest_file(target),
            "snapshot_digest": digest,
            "snapshot_source": record_source(
                project, str(snapshot_metadata.get("source", "")), configured=bool(snapshot_metadata.get("configured"))
            ),
            "holdout_digest": holdout.digest,
            "rows": len(rows.labels),
            "seconds": round(seconds, 3),
            "warnings": [warning.to_dict() for warning in warnings],
        }
        metadata |= {CHAMPION: snapshot_metadata[CHAMPION]} if CHAMPION in snapshot_metadata else {}
        link_latest_model(project, target, metadata["digest"])
        record_part("training", metadata)
        step.detail = f"{len(rows.labels):,} rows in {seconds:.1f} s"
    return metadata


def write_drift_reference(
    project: Project,
    snapshot: Path,
    model: Any,  # noqa: ANN401 - scikit-learn has no typed interface
    rows: LabelledRows,
    holdout: Holdout,
    target: Path,
) -> list[RunWarning]:
    """Freeze what drift will be measured against once this model is champion, and write it as JSON.

    Args:
        project: The project.
        snapshot: The pinned training data, as a file.
        model: The fitted model. Its scores of the holdout's test rows are frozen too.
        rows: The training data as the loader returns them.
        holdout: The holdout.
        target: Path to write to.

    Returns:
        A warning if nothing can be frozen. The model can be used nevertheless, but without the training data nobody can measure
        drift from it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        frozen = freeze_file(project, snapshot, "the training data", [str(name) for name in rows.features.columns])
        scores = build_numeric_reference(predict_probability(model, holdout.test.features))
        target.write_bytes(write_json(dataclasses.replace(frozen, scores=scores).to_dict(), sort=False))
    except SluiceError as error:
        target.write_text("null", encoding="utf-8")
        text = f"the release will carry no reference for drift: {error.message}"
        return [RunWarning(kind="no-drift-reference", text=text, hint=error.hint)]
    return []


def record_source(project: Project, source: str, *, configured: bool = False) -> str:
    """Return where a snapshot came from, as a release records it: without credentials, and without a path of this machine.

    A URL loses user, password and query. A path is recorded if it is in the project, or if sluice.toml led to it.

    Args:
        project: The project.
        source: Path or URL.
        configured: Whether sluice.toml names it, by itself, by a pattern or by a command.
    """
    if is_url(source):
        return strip_credentials(source)
    path = Path(source)
    if path.is_absolute() and path.is_relative_to(project.root):
        return str(path.relative_to(project.root))
    return source if configured or not path.is_absolute() else ""


def build_model(project: Project) -> Any:  # noqa: ANN401 - scikit-learn has no typed interface
    """Call the project's build function with the parameters in sluice.toml, and return the model before it is fitted.

    Raises:
        ConfigurationError: The function does not accept the parameters, or it does not return a classifier.
    """
    settings = project.settings.model
    build = project.load_object(settings.build, key="model.build")
    try:
        model = build(**settings.parameters)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"model.build {settings.build} does not accept model.parameters {settings.parameters}: {error}",
            hint="Correct model.parameters in sluice.toml.",
        ) from error
    if not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
        raise ConfigurationError(
            f"model.build {settings.build} returned a {type(model).__name__}, which lacks fit or predict_proba",
            hint="Return one unfitted scikit-learn Pipeline that ends in a classifier.",
        )
    return model


def link_latest_model(project: Project, model: Path, digest: str) -> None:
    """Let the link to the latest model point to this model, so that `sluice test model` and a plain pytest find it.

    The file is named by its digest, and the link is replaced afterwards. So a reader never sees a half-written model.
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


def verify_model(artifact: Path, metadata: Mapping[str, Any]) -> Path:
    """Verify that a model has the digest that training recorded, and return its path.

    A backend may take the training from its cache although the holdout has changed since. Then nobody has compared the training
    data with the present holdout, so the model is refused.

    Raises:
        IntegrityError: The digests differ. Then the file must not be loaded, because loading it runs code from the file. Or the
            training data were compared with another holdout.
    """
    found = digest_file(artifact)
    if found != metadata["digest"]:
        raise IntegrityError(
            f"the model {artifact} has the digest {found}, but training recorded {metadata['digest']}",
            hint="Do not load this file. Train the model again with `sluice run`.",
        )
    _check_holdout(metadata)
    return artifact


def load_trained_model(artifact: Path, metadata: Mapping[str, Any]) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a model whose bytes have the digest that training recorded.

    Raises:
        DataError: The file cannot be read, or it cannot be loaded with these libraries or this code.
        IntegrityError: As for `verify_model`. Nothing was loaded.
    """
    _check_holdout(metadata)
    return load_model(artifact, str(metadata["digest"]))


def _check_holdout(metadata: Mapping[str, Any]) -> None:
    compared = metadata.get("holdout_digest")
    if compared is not None and compared != (present := holdout_digest(read_project())):
        raise IntegrityError(
            f"the training data of the model were compared with the holdout {compared}, but the present holdout is {present}",
            hint="Train the model again, without the cache of the backend.",
        )
