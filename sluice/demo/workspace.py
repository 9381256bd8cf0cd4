"""The copy of the project that the demonstration uses, in `.sluice/demo`.

Each demonstration makes a new copy. Each act that changes the project is a commit in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from sluice.engines.local.runs import code_files
from sluice.errors import ConfigurationError, ServiceError
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sluice.demo.stories import Edit

DEMO_SETTINGS: Mapping[str, str] = {
    "SLUICE_ROLLOUT__MARGIN": "0.05",
    "SLUICE_ROLLOUT__FIRST_LOOK": "60",
    "SLUICE_ROLLOUT__BAKE_SECONDS": "2",
    "SLUICE_SERVING__PORT": "0",
}
"""Settings that the demonstration relaxes so that it takes only minutes. The terminal output says so."""

_NOT_COPIED = ("sluice", "tests/sluice", "tests/churn", "tests/cluster", "tests/tools", "benchmarks", "tools", "docs")


def create_workspace(project: Project) -> Path:
    """Copy the project's code to a new folder `.sluice/demo`, make it a git repository, and return it.

    Raises:
        ServiceError: The folder of an earlier demonstration cannot be deleted.
    """
    folder = project.state / "demo"
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ServiceError(
            f"{folder} cannot be deleted: {error}", hint="End the demonstration that still uses this folder."
        ) from error
    for file in code_files(project.root):
        name = file.relative_to(project.root)
        if name.as_posix().startswith(tuple(f"{left_out}/" for left_out in _NOT_COPIED)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / ".gitignore").write_text(".sluice/\ndata/\n__pycache__/\n", encoding="utf-8")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def enter_workspace(project: Project, folder: Path) -> Project:
    """Set `DEMO_SETTINGS` for this process and its children, and read the copy as a project."""
    os.environ.update(DEMO_SETTINGS)
    os.environ["SLUICE_SERVING__PYTHON"] = str(project.path(project.settings.serving.python).absolute())
    os.environ["SLUICE_ROOT"] = str(folder)
    os.environ.pop("SLUICE_STATE", None)
    return read_project(folder)


def apply_edits(folder: Path, edits: Iterable[Edit]) -> None:
    """Make the changes of an act in the copy.

    Raises:
        ConfigurationError: A file does not contain the text to replace exactly once, because the code has changed since the story
            was written.
    """
    for edit in edits:
        file = folder / edit.path
        text = file.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise ConfigurationError(
                f"demo.story changes {edit.path}, but that file contains the old text {text.count(edit.old)} times, not once",
                hint="Update the edits of the story to the present code.",
            )
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def commit(folder: Path, message: str) -> str:
    """Commit all files in the copy, and return the short commit id; empty on a machine without git."""
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
    """Run git without the user's hooks and without signing, and return its output.

    On a machine without git this does nothing, and the copy has no history.

    Raises:
        ServiceError: git failed.
    """
    command = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        return ""
    except subprocess.CalledProcessError as error:
        raise ServiceError(
            f"git {arguments[0]} failed: {error.stderr.strip()}", hint="Check whether the disk is full or read-only."
        ) from error
