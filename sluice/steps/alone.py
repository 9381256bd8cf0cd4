"""One step on its own, outside a run: what `sluice test` and `sluice release build` do.

Results lie under `.sluice/layers/<layer>/`: a release packaged by hand carries the verdicts of the layers run by hand.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from sluice.checks.inputs import LATEST_MODEL
from sluice.checks.layers import LAYERS, LayerInputs, LayerResult, run_layer
from sluice.data.snapshots import Snapshot, digest_file, pin_snapshot
from sluice.errors import StateError
from sluice.release.packaging import build_release
from sluice.release.store import ReleaseStore
from sluice.steps.scoring import read_champion
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project import Project
    from sluice.release.store import Release

RESULT_FILE = "result.json"
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
        DataError: Something that was named is not there.
    """
    folder = project.state / "layers" / layer
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inputs = LayerInputs()
    if layer == "data":
        inputs = LayerInputs(snapshot=_pin(project, snapshot).path)
    elif layer == "model":
        if model is None:
            say("training …")
            model = train_now(project, snapshot)
        inputs = LayerInputs(model=model.resolve())
    elif layer == "integration":
        store = ReleaseStore(project.state / "releases")
        inputs = LayerInputs(release=store.get(release).digest if release else _candidate(project, say).digest)
    say(f"layer {layer} …")
    result = run_layer(project, layer, inputs, folder)
    (folder / RESULT_FILE).write_text(json.dumps(result.to_dict()), encoding="utf-8")
    return result


def train_now(project: Project, snapshot: str = "") -> Path:
    """Train on the snapshot outside a run; gives the model's path in `.sluice/models`."""
    pinned = _pin(project, snapshot)
    folder = project.state / LATEST_MODEL.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "trained.draft"
    metadata = train(str(pinned.path), {"digest": pinned.digest, "suffix": pinned.path.suffix}, draft)
    draft.unlink()
    (folder / TRAINING_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return (project.state / LATEST_MODEL).resolve()


def build_candidate(project: Project) -> Release:
    """Package the model that was trained last, with the verdicts that lie under `.sluice/layers`, without asking the gate.

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
    champion = read_champion(project)
    results = {layer: project.state / "layers" / layer / RESULT_FILE for layer in LAYERS[:3]}
    folder = build_release(
        project,
        model=model,
        snapshot_digest=metadata["snapshot_digest"],
        verdicts={
            layer: json.loads(file.read_text(encoding="utf-8"))["verdicts"] for layer, file in results.items() if file.exists()
        },
        gate=None,
        parent=champion.digest if champion else None,
    )
    return ReleaseStore(project.state / "releases").add(folder)


def _candidate(project: Project, say: Callable[[str], None]) -> Release:
    if not (project.state / LATEST_MODEL.parent / TRAINING_FILE).exists():
        say("training …")
        train_now(project)
    say("packaging …")
    return build_candidate(project)


def _pin(project: Project, snapshot: str) -> Snapshot:
    return pin_snapshot(project.locate(snapshot or project.settings.data.snapshot), project.state / "snapshots")
