"""One step on its own, outside a run: what `sluice test` and `sluice release build` do.

Results lie under `.sluice/layers/<layer>/`, each with the digest of what it tested: a release packaged by hand carries the
verdicts that layers run by hand gave about this very code, snapshot and model, and no others.
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
from sluice.data.snapshots import Snapshot, check_readable, digest_file, pin_snapshot
from sluice.errors import StateError
from sluice.release.packaging import build_release
from sluice.release.store.releases import ReleaseStore
from sluice.scoring.server_process import find_python
from sluice.steps.scoring import read_champion
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

RESULT_FILE = "result.json"
SUBJECT = "subject"
"""Key of a result: digest of the code, the snapshot, the model or the release that was tested."""

TRAINING_FILE = "training.json"


def check_layer(
    project: Project,
    layer: str,
    *,
    snapshot: str = "",
    model: Path | None = None,
    release: str = "",
    say: Callable[[str], None] = print,
) -> LayerResult:
    """Run one layer as the pipeline would, making what it needs first.

    Args:
        project: The project.
        layer: One of the four.
        snapshot: Path or URL of the data; empty for ``data.snapshot``.
        model: A fitted model for the model layer; None to train one now.
        release: Reference of a release for the integration layer; empty to package the model that was trained last.
        say: Told what is being done.

    Raises:
        ConfigurationError: sluice.toml names a suite or a serving environment that is not there.
        DataError: Something that was named is not there, or cannot be read.
        IntegrityError: The holdout is not the one that was declared.
    """
    check_suite(project, layer)
    folder = project.state / "layers" / layer
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    inputs, subject = _find_inputs(project, layer, snapshot=snapshot, model=model, release=release, say=say)
    say(f"layer {layer} …")
    result = run_layer(project, layer, inputs, folder)
    (folder / RESULT_FILE).write_text(json.dumps(result.to_dict() | {SUBJECT: subject}), encoding="utf-8")
    return result


def _find_inputs(
    project: Project, layer: str, *, snapshot: str, model: Path | None, release: str, say: Callable[[str], None]
) -> tuple[LayerInputs, str]:
    """What a layer is given, made first where it must be, and the digest of what it tests."""
    if layer == "data":
        pinned = _pin(project, snapshot)
        return LayerInputs(snapshot=pinned.path), pinned.digest
    if layer == "code":
        return LayerInputs(), digest_code(project)
    check_readable(pin_holdout(project))  # both other layers need it, and what comes before them takes minutes
    if layer == "model":
        if model is None:
            say("training …")
            model = train_now(project, snapshot)
        return LayerInputs(model=model.resolve()), digest_file(model)
    find_python(project)
    digest = ReleaseStore(project.state / "releases").get(release).digest if release else _candidate(project, say).digest
    return LayerInputs(release=digest), digest


def digest_code(project: Project) -> str:
    """One digest over the Python code that travels in a release, and over the suite that tests it."""
    whole = hashlib.sha256()
    for folder in sorted({*project.settings.project.packages, project.settings.tests.code}):
        for file in sorted(project.path(folder).rglob("*.py")):
            whole.update(f"\0{file.relative_to(project.path(folder))}\0{digest_file(file)}".encode())
    return f"sha256:{whole.hexdigest()}"


def train_now(project: Project, snapshot: str = "") -> Path:
    """Train on the snapshot outside a run; gives the model's path in `.sluice/models`."""
    pinned = _pin(project, snapshot)
    folder = project.state / LATEST_MODEL.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "trained.draft"
    named = {"digest": pinned.digest, "suffix": pinned.path.suffix, "source": pinned.source}
    metadata = train(str(pinned.path), named, draft)
    draft.unlink()
    (folder / TRAINING_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return (project.state / LATEST_MODEL).resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a release packaged by hand is made of.

    Attributes:
        model: The fitted model that was trained last.
        digest: Its digest.
        snapshot_digest: Of the data that it was trained on.
        verdicts: By layer, of the layers run by hand on this code, this snapshot and this model.
        left_out: By layer, why its verdicts are left out; empty where they are bound.
    """

    model: Path
    digest: str
    snapshot_digest: str
    verdicts: dict[str, list[dict[str, Any]]]
    left_out: dict[str, str]


def plan_candidate(project: Project) -> Candidate:
    """What `build_candidate` would package.

    Raises:
        StateError: No model was trained here yet.
    """
    training = project.state / LATEST_MODEL.parent / TRAINING_FILE
    model = (project.state / LATEST_MODEL).resolve()
    if not training.exists() or not model.exists():
        raise StateError("no model was trained here yet", hint="`sluice test model` trains one and tests it.")
    metadata = json.loads(training.read_text(encoding="utf-8"))
    if digest_file(model) != metadata["digest"]:
        # A run has trained since: its own release binds that model, this one must bind what was tested by hand.
        model = model.with_name(f"{metadata['digest'].removeprefix('sha256:')}.joblib")
    subjects = {"code": digest_code(project), "data": metadata["snapshot_digest"], "model": metadata["digest"]}
    results = {layer: _read_result(project, layer) for layer in subjects}
    left_out = {layer: _why_left_out(layer, results[layer], subject) for layer, subject in subjects.items()}
    return Candidate(
        model=model,
        digest=metadata["digest"],
        snapshot_digest=metadata["snapshot_digest"],
        verdicts={layer: results[layer]["verdicts"] for layer, fate in left_out.items() if not fate},
        left_out=left_out,
    )


def build_candidate(project: Project) -> Release:
    """Package the model that was trained last, without asking the gate.

    Of the verdicts under `.sluice/layers` it carries those that are about this code, this snapshot and this model; the others
    are left out.

    Raises:
        StateError: No model was trained here yet.
    """
    candidate = plan_candidate(project)
    champion = read_champion(project)
    folder = build_release(
        project,
        model=candidate.model,
        snapshot_digest=candidate.snapshot_digest,
        verdicts=candidate.verdicts,
        gate=None,
        parent=champion.digest if champion else None,
    )
    return ReleaseStore(project.state / "releases").add(folder)


def _read_result(project: Project, layer: str) -> dict[str, Any]:
    """What a layer run by hand left; empty where there is nothing that can be read."""
    try:
        document: dict[str, Any] = json.loads((project.state / "layers" / layer / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document


def _why_left_out(layer: str, result: Mapping[str, Any], subject: str) -> str:
    """Why a layer's verdicts are not bound; empty where they are about the very thing that is packaged."""
    if not result:
        return f"it was not run, `sluice test {layer}` runs it"
    tested = str(result.get(SUBJECT, ""))
    what = {"code": "other code", "data": "another snapshot", "model": "another model"}[layer]
    return "" if tested == subject else f"it tested {what}, {tested[:19] or 'of an unknown digest'}"


def _candidate(project: Project, say: Callable[[str], None]) -> Release:
    if not (project.state / LATEST_MODEL.parent / TRAINING_FILE).exists():
        say("training …")
        train_now(project)
    say("packaging …")
    return build_candidate(project)


def _pin(project: Project, snapshot: str) -> Snapshot:
    pinned = pin_snapshot(project.locate(snapshot or project.settings.data.snapshot), project.state / "snapshots")
    check_readable(pinned)
    return pinned
