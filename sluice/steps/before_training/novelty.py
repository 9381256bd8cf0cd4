"""Whether a training would have anything new to learn from: another snapshot, holdout, model, lock or code than the champion's.

The code is compared file by file with what the champion's release carries, because a pod has no git.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import holdout_digest
from sluice.release.manifest import write_json
from sluice.release.model_layer import digest_code
from sluice.release.packaging import digest_packages, read_lock_digest
from sluice.release.project_releases import open_releases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

_SHOWN_FILES = 3


@dataclass(frozen=True, slots=True)
class Novelty:
    """The answer.

    Attributes:
        new: Whether there is anything new.
        detail: What is new, or why nothing is.
    """

    new: bool
    detail: str


def find_differences(present: Mapping[str, object], champion: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of the parts that differ, in the order of the present ones.

    Args:
        present: Name of each part → what a training would use now, as plain JSON types.
        champion: The same of the champion. A part that it does not have differs.
    """
    return tuple(name for name, value in present.items() if name not in champion or champion[name] != value)


def find_changed_files(present: Mapping[str, str], champion: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that were changed, added or removed, sorted.

    Args:
        present: Path of each file of the code → its digest.
        champion: The same of the champion's release.
    """
    return tuple(sorted(name for name in present.keys() | champion.keys() if present.get(name) != champion.get(name)))


def judge_novelty(project: Project, champion: Release | None, *, snapshot_digest: str) -> Novelty:
    """Compare what a training would use now with what the champion was made from.

    Args:
        project: The project.
        champion: The champion; None if there is none.
        snapshot_digest: The digest of the present snapshot.

    Raises:
        DataError: The holdout cannot be read.
        IntegrityError: The holdout is not the declared one, or the champion was altered.
        ServiceError: The registry or the cluster does not answer.
    """
    if champion is None:
        return Novelty(new=True, detail="there is no champion yet")
    named = f"release {champion.number}, the champion"
    changes = find_differences(_read_present_parts(project, snapshot_digest), _read_parts(champion.manifest))
    if changes:
        return Novelty(new=True, detail=f"{named}, was made from another {', '.join(changes)}")
    # Only now is the release unpacked, because it may have to be fetched from a registry.
    files = find_changed_files(digest_packages(project), digest_code(open_releases(project).unpack(champion.digest)))
    if files:
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        return Novelty(new=True, detail=f"{named}, has other code: {', '.join(files[:_SHOWN_FILES])}{more}")
    return Novelty(new=False, detail=f"{named}, was made from this snapshot ({snapshot_digest[:19]}) and this code")


def _read_present_parts(project: Project, snapshot_digest: str) -> dict[str, object]:
    model = project.settings.model
    return {
        "snapshot": snapshot_digest,
        "holdout": holdout_digest(project),
        "model.build": model.build,
        "model.parameters": json.loads(write_json(model.parameters)),
        "lock": read_lock_digest(project),
    }


def _read_parts(manifest: Mapping[str, Any]) -> dict[str, object]:
    """Return the same parts of a release. A manifest of an earlier version may lack some."""
    data, model, environment = (manifest.get(table) or {} for table in ("data", "model", "environment"))
    return {
        "snapshot": data.get("snapshot_digest"),
        "holdout": data.get("holdout_digest"),
        "model.build": model.get("build"),
        "model.parameters": model.get("parameters"),
        "lock": environment.get("lock_digest"),
    }
