"""The step that asks whether the data has moved since training, and the same question outside a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.checks.drift import DriftResult, compare_frames
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.snapshots import pin_snapshot
from sluice.project.projects import Project, read_project
from sluice.steps.records import record_part, running_step
from sluice.steps.snapshots import reopen

if TYPE_CHECKING:
    from sluice.steps.layers import ArtifactInput


def measure_drift(reference: ArtifactInput, current: ArtifactInput, target: str) -> DriftResult:
    """Compare two pinned snapshots, and write what was found.

    Args:
        reference: The snapshot that the champion was trained on.
        current: The snapshot of now.
        target: Where the report goes (JSON).

    Raises:
        DataError: They cannot be read or compared.
        IntegrityError: One of them is not what was pinned.
    """
    project = read_project()
    with running_step("drift") as step:
        paths = [reopen(project, Path(path), metadata) for path, metadata in (reference, current)]
        result = _compare(project, *paths)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(json.dumps(result.to_dict()), encoding="utf-8")
        record_part("drift", result.to_dict())
        step.detail = result.detail
    return result


def compare_sources(project: Project, reference: str, current: str) -> DriftResult:
    """Compare two snapshots by path or URL; an empty name is ``data.snapshot``.

    Raises:
        DataError: They cannot be read or compared.
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
