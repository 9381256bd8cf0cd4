"""The release that is built outside a run: of the model that was trained last, and of what was found about it.

It contains the verdicts that are about this code, this snapshot and this model. If the gate was asked about this model
(`sluice.steps.standalone.gate_questions`), it contains the gate's decision too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.checks.suites.inputs import LATEST_MODEL
from sluice.data.holdout import holdout_digest
from sluice.data.snapshots import digest_file
from sluice.errors import StateError
from sluice.release.golden_answers import answer_in_process
from sluice.release.packaging import build_release
from sluice.release.project_releases import open_folder, open_releases
from sluice.steps import packaging
from sluice.steps.champions import read_champion
from sluice.steps.standalone.results import (
    REFERENCE_FILE,
    RESULT_FILE,
    SUBJECT,
    TRAINING_FILE,
    digest_code,
    layer_folder,
    read_document,
)
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

GATE_FOLDER = "gate"
DECISION_FILE, SCORES_FILE, CURVES_FILE, GOLDEN_FILE = "decision.json", "scores.npz", "curves.json", "golden.json"
"""What the gate answered outside a run, and of the challenger: its scores of the gate rows, its curves, and its golden rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a release that is built outside a run will contain.

    Attributes:
        model: The fitted model that was trained last.
        training: What training recorded about it: its digest, the digest of its data, and the warnings.
        verdicts: By layer, the verdicts about this code, this snapshot and this model.
        left_out: By layer, the reason why its verdicts are left out; empty if the release contains them.
        decision: The gate's public decision about this model; None if the gate was not asked about it.
    """

    model: Path
    training: Mapping[str, Any]
    verdicts: dict[str, list[dict[str, Any]]]
    left_out: dict[str, str]
    decision: dict[str, Any] | None

    @property
    def digest(self) -> str:
        """The model's digest."""
        return str(self.training["digest"])

    @property
    def snapshot_digest(self) -> str:
        """The digest of the data that the model was trained on."""
        return str(self.training["snapshot_digest"])


def plan_candidate(project: Project) -> Candidate:
    """Return what `build_candidate` would put into the release.

    Raises:
        StateError: No model was trained in this project yet.
    """
    training = read_document(project.state / LATEST_MODEL.parent / TRAINING_FILE)
    model = (project.state / LATEST_MODEL).resolve()
    if not training or not model.exists():
        raise StateError("no model was trained in this project yet", hint="`sluice test model` trains one and tests it.")
    if digest_file(model) != training["digest"]:
        # A run has trained another model since. That model belongs to the run's release. This release gets the model that was
        # trained and tested outside a run.
        model = model.with_name(f"{training['digest'].removeprefix('sha256:')}.joblib")
    subjects = {"code": digest_code(project), "data": training["snapshot_digest"], "model": training["digest"]}
    results = {layer: read_document(layer_folder(project, layer) / RESULT_FILE) for layer in subjects}
    left_out = {layer: _why_left_out(layer, results[layer], subject) for layer, subject in subjects.items()}
    decision = read_document(project.state / GATE_FOLDER / DECISION_FILE)
    return Candidate(
        model=model,
        training=training,
        verdicts={layer: results[layer]["verdicts"] for layer, reason in left_out.items() if not reason},
        left_out=left_out,
        decision=decision if decision.get("model") == training["digest"] else None,
    )


def build_candidate(project: Project) -> Release:
    """Build a release of the model that was trained last.

    If serving.repository names a registry and the gate was asked about the model, the release is pushed. A release without the
    gate's decision stays in the state folder, because it never takes production traffic, and a pull request may not push.

    It contains the verdicts in `.sluice/layers` that are about this code, this snapshot and this model, and the gate's decision
    if the gate was asked about this model. The gate is not asked now.

    Raises:
        IntegrityError: The model's file was altered, or its training data were compared with another holdout.
        ServiceError: The registry does not accept the release.
        StateError: No model was trained in this project yet.
    """
    candidate = plan_candidate(project)
    reference = project.state / LATEST_MODEL.parent / REFERENCE_FILE
    if candidate.decision is not None:
        gate = project.state / GATE_FOLDER
        files = [str(layer_folder(project, layer) / RESULT_FILE) for layer in candidate.verdicts]
        made = [gate / name for name in (CURVES_FILE, DECISION_FILE, SCORES_FILE, GOLDEN_FILE)]
        made += [reference] if reference.exists() else []
        digest = packaging.package(str(candidate.model), candidate.training, files, *map(str, made))
        return open_releases(project).get(digest)
    champion = read_champion(project)
    model = verify_model(candidate.model, candidate.training)
    folder = build_release(
        project,
        model=model,
        model_digest=candidate.digest,
        golden=answer_in_process(project, model, candidate.digest, holdout=holdout_digest(project)),
        snapshot_digest=candidate.snapshot_digest,
        snapshot_source=str(candidate.training.get("snapshot_source", "")),
        drift_reference=packaging.read_reference(reference) if reference.exists() else None,
        verdicts=candidate.verdicts,
        gate=None,
        parent=champion.digest if champion else None,
    )
    return open_folder(project).add(folder)


def _why_left_out(layer: str, result: Mapping[str, Any], subject: str) -> str:
    """Return why a layer's verdicts are left out; empty if they are about exactly what the release will contain."""
    if not result:
        return f"the layer was not run; `sluice test {layer}` runs it"
    tested = str(result.get(SUBJECT, ""))
    if tested == subject:
        return ""
    what = {"code": "other code", "data": "another snapshot", "model": "another model"}[layer]
    return f"the layer tested {what} ({tested[:19] or 'its digest is unknown'})"
