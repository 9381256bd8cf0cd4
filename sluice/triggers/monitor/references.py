"""The champion's frozen reference. This is the only module of the monitor that knows where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sluice.drift.references import DriftReference
from sluice.errors import DataError
from sluice.steps.champions import read_drift_reference, require_champion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project


def find_reference(project: Project) -> Callable[[], DriftReference]:
    """Return a function that reads the present reference: the file that monitor.reference names, or else the champion's own."""
    name = project.settings.monitor.reference
    if not name:
        return lambda: read_drift_reference(project, require_champion(project))
    path = project.path(name)
    return lambda: read_reference_file(path)


def read_reference_file(path: Path) -> DriftReference:
    """Read a frozen reference.

    Raises:
        DataError: The file is missing, cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return DriftReference.from_dict(values)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError) as error:
        raise DataError(
            f"the drift reference {path} cannot be read: {error}", hint="Name a frozen reference in monitor.reference."
        ) from error
