"""Where the results of single steps are stored, and what they are about."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sluice.data.snapshots import digest_file

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project

RESULT_FILE = "result.json"

SUBJECT = "subject"
"""Key of a result under which it holds the digest of the code, snapshot, model or release that was tested."""

TRAINING_FILE = "training.json"
"""Metadata of the model that was trained last outside a run."""


def layer_folder(project: Project, layer: str) -> Path:
    """Return the folder with the result of a layer that was run outside a run."""
    return project.state / "layers" / layer


def read_document(file: Path) -> dict[str, Any]:
    """Read a result; empty if there is none that can be read."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def digest_code(project: Project) -> str:
    """Return one digest over the Python code that a release contains, and over the suite that tests it."""
    digest = hashlib.sha256()
    for folder in sorted({*project.settings.project.packages, project.settings.tests.code}):
        for file in sorted(project.path(folder).rglob("*.py")):
            digest.update(f"\0{file.relative_to(project.path(folder))}\0{digest_file(file)}".encode())
    return f"sha256:{digest.hexdigest()}"
