"""Choose the Python interpreter that serves a release on this machine.

``serving.python`` names the present environment. When the libraries of the lock change, releases that were fitted before need the
earlier ones. `make setup` therefore keeps an earlier serving environment beside the present one: ``.venv-serving-…`` beside
``.venv-serving``. A release is served with the first environment that has its libraries.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError
from sluice.release import fingerprint
from sluice.release.fingerprint import compare_fingerprints
from sluice.release.model_layer import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project

_SECONDS = 60


def find_python(project: Project) -> Path:
    """Return the Python interpreter of the present serving environment.

    Raises:
        ConfigurationError: The interpreter does not exist.
    """
    python = project.path(project.settings.serving.python)
    if not python.is_file():
        raise ConfigurationError(
            f"serving.python names {project.settings.serving.python!r}, but there is no file {python}",
            hint="Make the serving environment with `make setup`.",
        )
    return python


def choose_python(project: Project, folder: Path) -> Path:
    """Return the interpreter of the first environment that a release can be served in.

    If there is none, it is that of the present environment, whose server then says what differs. The release is not verified
    here, and a wrong manifest can only choose another of these environments, which verifies the release.

    Args:
        project: The project, which names the present environment.
        folder: The unpacked model layer.

    Raises:
        ConfigurationError: The present environment does not exist.
    """
    present = find_python(project)
    earlier = list_earlier_pythons(present)
    fitted = _read_fitted(folder) if earlier else None
    if fitted is None:
        return present
    fitting = (python for python in (present, *earlier) if _fits(fitted, python))
    return next(fitting, present)


def list_earlier_pythons(present: Path) -> list[Path]:
    """Return the interpreters of the earlier environments beside the present one, the newest name first."""
    environment = present.parents[1]
    return sorted(environment.parent.glob(f"{environment.name}-*/bin/{present.name}"), reverse=True)


def _read_fitted(folder: Path) -> Mapping[str, Any] | None:
    """Return the fingerprint in a release's manifest; None if it cannot be read, which the server reports."""
    try:
        found = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["environment"]["fingerprint"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("libraries"), dict) else None


def _fits(fitted: Mapping[str, Any], python: Path) -> bool:
    try:
        changed = max(each.stat().st_mtime_ns for each in python.parents[1].glob("lib/python*/site-packages"))
        found = _ask(python, changed)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return not compare_fingerprints(fitted, found)


@cache
def _ask(python: Path, changed: int) -> Mapping[str, Any]:
    """Ask an interpreter for its fingerprint. The time of the last change of its libraries is part of the cache's key."""
    del changed
    command = [str(python), "-I", str(Path(fingerprint.__file__))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
    return dict(json.loads(done.stdout))
