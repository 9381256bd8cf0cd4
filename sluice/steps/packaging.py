"""The step that packages code, data, model and environment as one release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import holdout_digest
from sluice.data.row_scores import read_row_scores
from sluice.errors import IntegrityError
from sluice.project.projects import read_project
from sluice.release.golden_answers import read_golden_answers
from sluice.release.packaging import build_release
from sluice.release.project_releases import WARNINGS, open_registry_releases, open_releases
from sluice.steps.before_training.environments import check_serving_image, check_serving_lock
from sluice.steps.before_training.keys import check_signing_key
from sluice.steps.before_training.places import check_places
from sluice.steps.champions import read_champion
from sluice.steps.curves import ATTACHMENT
from sluice.steps.ledgers import open_scores
from sluice.steps.records import record_part, running_step
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.release.store.releases import Release


def package(
    model: str,
    metadata: Mapping[str, Any],
    verdicts: Iterable[str],
    curves: str,
    decision: str,
    scores: str,
    golden: str,
    drift_reference: str = "",
) -> str:
    """Build the model layer, and add it to the project's releases, which are in a registry if serving.repository names one.

    Args:
        model: Local path of the fitted model.
        metadata: The model's metadata: ``digest``, ``snapshot_digest``, ``snapshot_source``, ``rows``.
        verdicts: Local paths of the verdicts of the code, data and model layers (JSON).
        curves: Local path of the challenger's curves (JSON). They are attached to the release, because reports need them once it
            is champion. The warnings about data and scores are attached too, because a person who approves must see them.
        decision: Local path of the gate's public decision (JSON).
        scores: Local path of the scores of the gate rows that the gate judged by (.npz). The challenger's are stored, because the
            gate needs them once the release is champion.
        golden: Local path of the golden rows with the model's answers (JSON). The step that wrote them loaded the model. This
            step may have a key and the rights to push, so it never does.
        drift_reference: Local path of the frozen reference for drift (JSON); empty if there is none.

    Returns:
        The release's digest.

    Raises:
        ConfigurationError: The release would be lost with the state folder, or the key that must sign its provenance is missing
            or cannot be used.
        IntegrityError: The model does not have the digest that training recorded, the gate judged another model or other
            scores, or the golden rows are those of another model or holdout.
        RefusedError: The serving lock or the serving image does not fit what this environment trains.
        ServiceError: The registry that serving.repository names does not accept the release.
    """
    project = read_project()
    with running_step("package") as step:
        check_places(project)
        check_signing_key(project)
        check_serving_lock(project)
        note = check_serving_image(project)
        champion = read_champion(project)
        gate, judged = json.loads(Path(decision).read_text(encoding="utf-8")), read_row_scores(Path(scores))
        check_judged(gate, model=str(metadata["digest"]), scores=judged.digest)
        layers = [json.loads(Path(name).read_text(encoding="utf-8")) for name in verdicts]
        verified, digest = verify_model(Path(model), metadata), str(metadata["digest"])
        folder = build_release(
            project,
            model=verified,
            model_digest=digest,
            golden=read_golden_answers(Path(golden), model=digest, holdout=holdout_digest(project)),
            snapshot_digest=str(metadata["snapshot_digest"]),
            verdicts={layer["layer"]: layer["verdicts"] for layer in layers},
            gate=gate,
            parent=champion.digest if champion else None,
            snapshot_source=str(metadata.get("snapshot_source", "")),
            drift_reference=read_reference(Path(drift_reference)) if drift_reference else None,
        )
        releases = open_releases(project)
        release = releases.add(folder)
        open_scores(project).save(release.digest, judged)
        measured = json.loads(Path(curves).read_text(encoding="utf-8"))
        releases.attach(release.digest, ATTACHMENT, measured)
        if warnings := [*metadata.get("warnings", []), *measured.get("warnings", [])]:
            releases.attach(release.digest, WARNINGS, {"warnings": warnings})
        in_registry = bool(project.settings.serving.repository)
        image = open_registry_releases(project).publish(release.digest).image if in_registry else ""
        record_part("release", describe(release) | ({"image": image} if image else {}))
        step.detail = f"release {release.number}, {release.digest[:19]}" + (f"; {note}" if note else "")
    return release.digest


def check_judged(decision: Mapping[str, Any], *, model: str, scores: str) -> None:
    """Check that the gate's decision is about this model and these scores. A decision of an earlier version names neither. Pure.

    Raises:
        IntegrityError: It is about others.
    """
    for what, found in (("model", model), ("scores", scores)):
        if decision.get(what, found) != found:
            raise IntegrityError(
                f"the gate judged the {what} {decision[what]}, but the step got the {what} {found}",
                hint="Run the pipeline again.",
            )


def read_reference(file: Path) -> dict[str, Any] | None:
    """Read the frozen reference that `sluice.steps.training.train` wrote; None if nothing could be frozen."""
    document: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8"))
    return document


def describe(release: Release) -> dict[str, Any]:
    """Return a release as plain JSON types."""
    return {
        "number": release.number,
        "digest": release.digest,
        "image_digest": release.image_digest,
        "tags": sorted(release.tags),
        "manifest": release.manifest,
    }
