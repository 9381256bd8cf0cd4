"""The step that binds code, data, model and environment into one release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.holdout import holdout_digest
from sluice.gate.ledger import Ledger
from sluice.project.projects import read_project
from sluice.release.packaging import build_release
from sluice.release.registry.publishing import find_destination, publish
from sluice.release.store.releases import ReleaseStore
from sluice.steps.curves import ATTACHMENT
from sluice.steps.records import record_part, running_step
from sluice.steps.scoring import read_champion
from sluice.steps.training import verify_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.release.store.releases import Release


def package(model: str, metadata: Mapping[str, Any], verdicts: Iterable[str], curves: str, decision: str, scores: str) -> str:
    """Make the model layer, add it to the store, and push it where serving.repository says so.

    Args:
        model: Local path of the fitted model.
        metadata: Its metadata: ``digest``, ``snapshot_digest``, ``rows``.
        verdicts: Local paths of the verdicts of layers 1 to 3 (JSON).
        curves: Local path of the challenger's curves (JSON), attached for the day it is the champion.
        decision: Local path of the gate's public decision (JSON).
        scores: Local path of the challenger's gate scores (.npy), kept for the day it is the champion.

    Returns:
        The release's digest.

    Raises:
        IntegrityError: The model's bytes are not those that were trained.
        ServiceError: The registry that serving.repository names does not take it.
    """
    project = read_project()
    with running_step("package") as step:
        champion = read_champion(project)
        layers = [json.loads(Path(name).read_text(encoding="utf-8")) for name in verdicts]
        folder = build_release(
            project,
            model=verify_model(Path(model), metadata),
            snapshot_digest=str(metadata["snapshot_digest"]),
            verdicts={layer["layer"]: layer["verdicts"] for layer in layers},
            gate=json.loads(Path(decision).read_text(encoding="utf-8")),
            parent=champion.digest if champion else None,
        )
        store = ReleaseStore(project.state / "releases")
        release = store.add(folder)
        Ledger(project.state / "ledger").save_scores(release.digest, holdout_digest(project), np.load(scores))
        store.attach(release.digest, ATTACHMENT, json.loads(Path(curves).read_text(encoding="utf-8")))
        image = publish(store, release, find_destination(project)).image if project.settings.serving.repository else ""
        record_part("release", describe(release) | ({"image": image} if image else {}))
        step.detail = f"release {release.number}, {release.digest[:19]}"
    return release.digest


def describe(release: Release) -> dict[str, Any]:
    """A release as plain JSON types."""
    return {
        "number": release.number,
        "digest": release.digest,
        "image_digest": release.image_digest,
        "tags": sorted(release.tags),
        "manifest": release.manifest,
    }
