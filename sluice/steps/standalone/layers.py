"""One test layer outside a run, for `sluice test`.

The result is stored in `.sluice/layers/<layer>/`, together with the digest of what was tested.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.checks.layers import LayerInputs, LayerResult, check_suite, run_layer
from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.holdout import pin_holdout
from sluice.data.snapshots import check_readable, digest_file
from sluice.release.project_releases import open_releases
from sluice.scoring.environments.serving_pythons import find_python
from sluice.steps.snapshots import pin_data
from sluice.steps.standalone.candidates import build_candidate
from sluice.steps.standalone.results import REFERENCE_FILE, RESULT_FILE, SUBJECT, TRAINING_FILE, digest_code, layer_folder
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release


def check_layer(
    project: Project,
    layer: str,
    *,
    snapshot: str = "",
    model: Path | None = None,
    release: str = "",
    notify: Callable[[str], None] = print,
) -> LayerResult:
    """Run one test layer as a pipeline does. Train a model or build a release first if the layer needs one.

    Args:
        project: The project.
        layer: ``code``, ``data``, ``model`` or ``integration``.
        snapshot: Path or URL of the data; empty for what sluice.toml names.
        model: A fitted model for the model layer; None to train one now.
        release: Release reference for the integration layer; empty to build a release of the model that was trained last.
        notify: Called with one line of text about each activity when it begins.

    Raises:
        ConfigurationError: sluice.toml names a suite or a serving environment that does not exist.
        DataError: The snapshot, the model or the release does not exist or cannot be read.
        IntegrityError: The holdout does not have the declared digest.
    """
    check_suite(project, layer)
    folder = layer_folder(project, layer)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    inputs, subject = _find_inputs(project, layer, snapshot=snapshot, model=model, release=release, notify=notify)
    notify(f"running the {layer} tests …")
    result = run_layer(project, layer, inputs, folder)
    (folder / RESULT_FILE).write_text(json.dumps(result.to_dict() | {SUBJECT: subject}), encoding="utf-8")
    return result


def _find_inputs(
    project: Project, layer: str, *, snapshot: str, model: Path | None, release: str, notify: Callable[[str], None]
) -> tuple[LayerInputs, str]:
    """Return the inputs of a layer and the digest of what it tests. Train or package first if that is necessary."""
    if layer == "data":
        pinned = pin_data(project, snapshot)
        return LayerInputs(snapshot=pinned.path), pinned.digest
    if layer == "code":
        return LayerInputs(), digest_code(project)
    check_readable(pin_holdout(project))  # both other layers need the holdout, and preparing them takes minutes
    if layer == "model":
        if model is None:
            notify("training a model …")
            model = train_now(project, snapshot)
        model = model.resolve()
        digest = digest_file(model)  # one digest for the suite and for the release, so the verdicts are about what was loaded
        return LayerInputs(model=model, model_digest=digest), digest
    find_python(project)
    digest = open_releases(project).get(release).digest if release else _find_or_build(project, notify).digest
    return LayerInputs(release=digest), digest


def train_now(project: Project, snapshot: str = "") -> Path:
    """Train a model on the snapshot outside a run, and return the model's path in `.sluice/models`."""
    pinned = pin_data(project, snapshot)
    folder = project.state / LATEST_MODEL.parent
    folder.mkdir(parents=True, exist_ok=True)
    snapshot_metadata = {
        "digest": pinned.digest,
        "suffix": pinned.path.suffix,
        "source": pinned.source,
        "configured": not snapshot,
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix=".training-") as own:  # another process may train at the same time
        metadata = train(str(pinned.path), snapshot_metadata, Path(own) / "trained", folder / REFERENCE_FILE)
    (folder / TRAINING_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return (project.state / LATEST_MODEL).resolve()


def _find_or_build(project: Project, notify: Callable[[str], None]) -> Release:
    if not (project.state / LATEST_MODEL.parent / TRAINING_FILE).exists():
        notify("training a model …")
        train_now(project)
    notify("building a release …")
    return build_candidate(project)
