"""The demonstration's own copy of the project: `.sluice/demo`, begun afresh each time, where each act is a real commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from sluice.engines.runs import code_files
from sluice.errors import ConfigurationError, ServiceError
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sluice.demo.stories import Edit

SETTINGS: Mapping[str, str] = {
    "SLUICE_ROLLOUT__MARGIN": "0.05",
    "SLUICE_ROLLOUT__FIRST_LOOK": "60",
    "SLUICE_ROLLOUT__BAKE_SECONDS": "2",
    "SLUICE_SERVING__PORT": "0",
}
"""What the demonstration relaxes so that it fits into minutes: said on screen."""

_LEFT_OUT = ("sluice", "tests/sluice", "tests/churn", "tests/cluster", "tests/tools", "benchmarks", "tools", "docs")


def create_workspace(project: Project) -> Path:
    """Copy the project's code to a fresh `.sluice/demo` under version control.

    Raises:
        ServiceError: An earlier demonstration's folder cannot be removed.
    """
    folder = project.state / "demo"
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ServiceError(f"{folder} cannot be removed: {error}", hint="End the demonstration that still uses it.") from error
    for file in code_files(project.root):
        name = file.relative_to(project.root)
        if name.as_posix().startswith(tuple(f"{left}/" for left in _LEFT_OUT)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / ".gitignore").write_text(".sluice/\ndata/\n__pycache__/\n", encoding="utf-8")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def enter_workspace(project: Project, folder: Path) -> Project:
    """Relax the settings as said above, for this process and its children, and read the copy as a project."""
    os.environ.update(SETTINGS)
    os.environ["SLUICE_SERVING__PYTHON"] = str(project.path(project.settings.serving.python).absolute())
    os.environ["SLUICE_ROOT"] = str(folder)
    os.environ.pop("SLUICE_STATE", None)
    return read_project(folder)


def apply_edits(folder: Path, edits: Iterable[Edit]) -> None:
    """Change the copy's files.

    Raises:
        ConfigurationError: A text is not there exactly once: the story is older than the code that it changes.
    """
    for edit in edits:
        file = folder / edit.path
        text = file.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise ConfigurationError(
                f"demo.story changes {edit.path}, but the text it looks for is there {text.count(edit.old)} times",
                hint="Bring the story's edits up to date with the code.",
            )
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def commit(folder: Path, message: str) -> str:
    """Commit everything in the copy; gives the short commit id, empty where there is no git."""
    _git(folder, "add", "--all")
    _git(
        folder,
        "-c",
        "user.name=sluice demo",
        "-c",
        "user.email=demo@localhost",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        message,
    )
    return _git(folder, "rev-parse", "--short", "HEAD")


def _git(folder: Path, *arguments: str) -> str:
    """Run git without the user's own hooks and signing; a machine without git has a copy without history."""
    command = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        return ""
    except subprocess.CalledProcessError as error:
        raise ServiceError(f"git {arguments[0]} failed: {error.stderr.strip()}", hint="Is the disk full or read-only?") from error
