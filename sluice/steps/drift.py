"""The step that measures drift: how far the features have changed since training. `sluice drift` does the same outside a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.checks.drift import DriftResult, compare_frames
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.snapshots import pin_snapshot
from sluice.project.projects import Project, read_project
from sluice.steps.records import record_part, running_step
from sluice.steps.snapshots import restore_snapshot

if TYPE_CHECKING:
    from sluice.steps.layers import ArtifactInput


def measure_drift(reference: ArtifactInput, current: ArtifactInput, target: str) -> DriftResult:
    """Compare two pinned snapshots, and write the result.

    Args:
        reference: The snapshot that the champion was trained on.
        current: The present snapshot.
        target: Path to write the result to (JSON).

    Raises:
        DataError: The snapshots cannot be read or compared.
        IntegrityError: A snapshot does not have the digest that was recorded when it was pinned.
    """
    project = read_project()
    with running_step("drift") as step:
        paths = [restore_snapshot(project, Path(path), metadata) for path, metadata in (reference, current)]
        result = _compare(project, *paths)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(json.dumps(result.to_dict()), encoding="utf-8")
        record_part("drift", result.to_dict())
        step.detail = result.detail
    return result


def compare_sources(project: Project, reference: str, current: str) -> DriftResult:
    """Compare two snapshots that are named by path or URL. An empty name means ``data.snapshot``.

    Raises:
        DataError: The snapshots cannot be read or compared.
    """
    names = [project.locate(name or project.settings.data.snapshot) for name in (reference, current)]
    return _compare(project, *(pin_snapshot(name, project.state / "snapshots").path for name in names))


def _compare(project: Project, reference: Path, current: Path) -> DriftResult:
    settings = project.settings.drift
    frames = [read_labelled_rows(project, path).features for path in (reference, current)]
    return compare_frames(
        *frames,
        columns=settings.columns,
        threshold=settings.threshold,
        alpha=settings.alpha,
        least_rows=settings.least_rows,
    )
