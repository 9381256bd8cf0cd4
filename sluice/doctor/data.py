"""Questions about the data: whether the snapshot and the holdout can be read, without a copy that stays."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.data.holdout import read_whole_holdout
from sluice.data.locations import resolve_snapshot
from sluice.data.snapshots import probe_source, strip_credentials
from sluice.doctor.findings import FAIL, NOTE, Finding, ask
from sluice.steps.before_training.requirements import require_both_classes

if TYPE_CHECKING:
    from sluice.project.projects import Project


def check_data(project: Project, *, in_pods: bool = False) -> list[Finding]:
    """Return the findings about the snapshot and the holdout.

    Args:
        project: The project.
        in_pods: Whether Pods read the data. Then it is only a note if this machine cannot.
    """
    findings = [ask("snapshot", lambda: _read_snapshot(project)), ask("holdout", lambda: _read_holdout(project))]
    if not in_pods:
        return findings
    fix = "Only the Pods of the steps must be able to read it."
    return [
        dataclasses.replace(each, outcome=NOTE, fix=f"{each.fix} {fix}".strip()) if each.outcome == FAIL else each
        for each in findings
    ]


def _read_snapshot(project: Project) -> str:
    """Find the newest snapshot and read its beginning. The data tests check its rows."""
    found = resolve_snapshot(project)
    probe_source(project.locate(found.name))
    origin = f" ({found.origin})" if found.origin else ""
    return f"{strip_credentials(found.name)}{origin} can be read"


def _read_holdout(project: Project) -> str:
    """Read the whole holdout as the first step of a run does, and count its rows."""
    with tempfile.TemporaryDirectory(prefix="sluice-doctor-") as scratch:
        holdout = read_whole_holdout(project, Path(scratch))
        require_both_classes(project, holdout)
    return f"{strip_credentials(project.settings.data.holdout)} has {len(holdout.rows):,} rows of both classes"
