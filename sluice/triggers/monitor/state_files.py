"""The file with the monitor's state. It has counts, times and names of columns, and no value of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sluice.errors import DataError, ServiceError
from sluice.rollout.platforms.laptop.atomic_files import write_atomically
from sluice.triggers.monitor.windows import WatchState

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def find_state_file(project: Project) -> Path:
    """Return the path of the file."""
    name = project.settings.monitor.state
    return project.path(name) if name else project.state / "monitor.json"


def read_state(path: Path) -> WatchState | None:
    """Read the state; None if there is no file.

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the monitor's state {path} cannot be read: {error}", hint="Check the file's permissions.") from error
    try:
        return WatchState.from_dict(json.loads(text))
    except (json.JSONDecodeError, AttributeError) as error:
        raise DataError(
            f"the monitor's state {path} is damaged: {error}", hint="Delete the file. The monitor then counts from the beginning."
        ) from error


def write_state(path: Path, state: WatchState) -> None:
    """Replace the file as a whole.

    Raises:
        ServiceError: The file cannot be written.
    """
    try:
        write_atomically(path, json.dumps(state.to_dict()).encode())
    except OSError as error:
        raise ServiceError(
            f"the monitor's state {path} cannot be written: {error}",
            hint="Check the free space and the permissions of the folder.",
        ) from error
