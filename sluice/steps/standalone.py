"""Single steps outside a run, for `sluice test` and `sluice release build`.

The result of a test layer is stored in `.sluice/layers/<layer>/`, together with the digest of what was tested. A release that is
built outside a run contains only the verdicts about its own code, snapshot and model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.checks.layers import LayerInputs, LayerResult, check_suite, run_layer
from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.holdout import pin_holdout
from sluice.data.snapshots import check_readable, digest_file
from sluice.errors import StateError
from sluice.release.packaging import build_release
from sluice.release.project_releases import open_releases
from sluice.scoring.server_process import find_python
from sluice.steps.champions import read_champion
from sluice.steps.packaging import read_reference
from sluice.steps.snapshots import pin_data
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

RESULT_FILE = "result.json"

SUBJECT = "subject"
"""Key of a result under which it holds the digest of the code, snapshot, model or release that was tested."""

TRAINING_FILE = "training.json"
"""Metadata of the model that was trained last outside a run."""


REFERENCE_FILE = "drift_reference.json"
"""The reference for drift that was frozen with that model."""


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
        snapshot: Path or URL of the data; empty for ``data.snapshot``.
        model: A fitted model for the model layer; None to train one now.
        release: Release reference for the integration layer; empty to build a release of the model that was trained last.
        notify: Called with one line of text about each activity when it begins.

    Raises:
        ConfigurationError: sluice.toml names a suite or a serving environment that does not exist.
        DataError: The snapshot, the model or the release does not exist or cannot be read.
        IntegrityError: The holdout does not have the declared digest.
    """
    check_suite(project, layer)
    folder = project.state / "layers" / layer
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
        return LayerInputs(model=model.resolve()), digest_file(model)
    find_python(project)
    digest = open_releases(project).get(release).digest if release else _find_or_build(project, notify).digest
    return LayerInputs(release=digest), digest


def digest_code(project: Project) -> str:
    """Return one digest over the Python code that a release contains, and over the suite that tests it."""
    digest = hashlib.sha256()
    for folder in sorted({*project.settings.project.packages, project.settings.tests.code}):
        for file in sorted(project.path(folder).rglob("*.py")):
            digest.update(f"\0{file.relative_to(project.path(folder))}\0{digest_file(file)}".encode())
    return f"sha256:{digest.hexdigest()}"


def train_now(project: Project, snapshot: str = "") -> Path:
    """Train a model on the snapshot outside a run, and return the model's path in `.sluice/models`."""
    pinned = pin_data(project, snapshot)
    folder = project.state / LATEST_MODEL.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "trained.draft"
    snapshot_metadata = {"digest": pinned.digest, "suffix": pinned.path.suffix, "source": pinned.source}
    metadata = train(str(pinned.path), snapshot_metadata, draft, folder / REFERENCE_FILE)
    draft.unlink()
    (folder / TRAINING_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return (project.state / LATEST_MODEL).resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a release that is built outside a run will contain.

    Attributes:
        model: The fitted model that was trained last.
        digest: The model's digest.
        snapshot_digest: Digest of the data that the model was trained on.
        snapshot_source: Where that data came from; empty if it is not recorded.
        verdicts: By layer, the verdicts about this code, this snapshot and this model.
        left_out: By layer, the reason why its verdicts are left out; empty if the release contains them.
    """

    model: Path
    digest: str
    snapshot_digest: str
    snapshot_source: str
    verdicts: dict[str, list[dict[str, Any]]]
    left_out: dict[str, str]


def plan_candidate(project: Project) -> Candidate:
    """Return what `build_candidate` would put into the release.

    Raises:
        StateError: No model was trained in this project yet.
    """
    training = project.state / LATEST_MODEL.parent / TRAINING_FILE
    model = (project.state / LATEST_MODEL).resolve()
    if not training.exists() or not model.exists():
        raise StateError("no model was trained in this project yet", hint="`sluice test model` trains one and tests it.")
    metadata = json.loads(training.read_text(encoding="utf-8"))
    if digest_file(model) != metadata["digest"]:
        # A run has trained another model since. That model belongs to the run's release. This release gets the model that was
        # trained and tested outside a run.
        model = model.with_name(f"{metadata['digest'].removeprefix('sha256:')}.joblib")
    subjects = {"code": digest_code(project), "data": metadata["snapshot_digest"], "model": metadata["digest"]}
    results = {layer: _read_result(project, layer) for layer in subjects}
    left_out = {layer: _why_left_out(layer, results[layer], subject) for layer, subject in subjects.items()}
    return Candidate(
        model=model,
        digest=metadata["digest"],
        snapshot_digest=metadata["snapshot_digest"],
        snapshot_source=metadata.get("snapshot_source", ""),
        verdicts={layer: results[layer]["verdicts"] for layer, reason in left_out.items() if not reason},
        left_out=left_out,
    )


def build_candidate(project: Project) -> Release:
    """Build a release of the model that was trained last, without asking the gate.

    The release contains the verdicts in `.sluice/layers` that are about this code, this snapshot and this model.

    Raises:
        StateError: No model was trained in this project yet.
    """
    candidate = plan_candidate(project)
    champion = read_champion(project)
    reference = project.state / LATEST_MODEL.parent / REFERENCE_FILE
    folder = build_release(
        project,
        model=candidate.model,
        snapshot_digest=candidate.snapshot_digest,
        snapshot_source=candidate.snapshot_source,
        drift_reference=read_reference(reference) if reference.exists() else None,
        verdicts=candidate.verdicts,
        gate=None,
        parent=champion.digest if champion else None,
    )
    return open_releases(project).add(folder)


def _read_result(project: Project, layer: str) -> dict[str, Any]:
    """Read the result of a layer that was run outside a run; empty if there is none that can be read."""
    try:
        document: dict[str, Any] = json.loads((project.state / "layers" / layer / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document


def _why_left_out(layer: str, result: Mapping[str, Any], subject: str) -> str:
    """Return why a layer's verdicts are left out; empty if they are about exactly what the release will contain."""
    if not result:
        return f"the layer was not run; `sluice test {layer}` runs it"
    tested = str(result.get(SUBJECT, ""))
    if tested == subject:
        return ""
    what = {"code": "other code", "data": "another snapshot", "model": "another model"}[layer]
    return f"the layer tested {what} ({tested[:19] or 'its digest is unknown'})"


def _find_or_build(project: Project, notify: Callable[[str], None]) -> Release:
    if not (project.state / LATEST_MODEL.parent / TRAINING_FILE).exists():
        notify("training a model …")
        train_now(project)
    notify("building a release …")
    return build_candidate(project)
