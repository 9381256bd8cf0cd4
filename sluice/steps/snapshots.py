"""The steps that pin data: they copy the snapshot, or the champion's training data, and name the copy by its digest.

Pinning the snapshot is the first step of a pipeline. Therefore it also checks the other files that the pipeline will need after
the training.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from sluice.data.folders import copy_parts, place_folder
from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.locations import resolve_snapshot
from sluice.data.snapshots import Snapshot, check_readable, digest_data, digest_file, pin_snapshot, pinned_path, strip_credentials
from sluice.errors import IntegrityError
from sluice.project.projects import Project, read_project
from sluice.release.manifest import write_json
from sluice.rollout.requests.statuses import read_status
from sluice.steps.before_training.novelty import Novelty, judge_novelty
from sluice.steps.before_training.requirements import check_project
from sluice.steps.champions import CHAMPION, find_reference, read_champion_of_run, read_features, require_champion
from sluice.steps.records import record_part, running_step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.drift.references import DriftReference
    from sluice.release.store.releases import Release

REFERENCE_FORM = "drift-reference"
"""``form`` in the metadata of a pinned reference that holds frozen bins and no rows."""


def pin(location: str, target: Path, *, compare: bool = False) -> dict[str, Any]:
    """Check the files that the pipeline needs, pin the newest snapshot, and copy it to `target`.

    Args:
        location: Path, fsspec URL or pattern; empty for what sluice.toml names.
        target: Path of the artifact.
        compare: Whether to look if there is anything new since the champion was trained.

    Returns:
        The artifact's metadata: ``digest``, ``source`` (the concrete path or URL), ``suffix``, ``origin`` (the pattern or the
        command that led to it; empty if it was named itself), ``configured`` (whether sluice.toml names it), ``champion`` (the
        digest of the champion of the run; empty if there is none), ``new`` (False only if `compare`, and nothing is new) and
        ``novelty`` (what is new, or why nothing is; empty without `compare`).

    Raises:
        ConfigurationError: project.packages or serving.lock names something that does not exist, or a pattern also matches the
            holdout.
        DataError: The snapshot or the holdout is missing or cannot be read, or nobody can say which snapshot is the newest.
        IntegrityError: The holdout is not the declared one, or the champion was altered.
        ServiceError: The cluster that serves production does not say which release is the champion.
    """
    project = read_project()
    with running_step("pin-snapshot") as step:
        note = check_project(project)
        found = resolve_snapshot(project, location)
        snapshot = _pin_place(project, found.name)
        metadata = _copy_pinned(snapshot, found.name, target) | {"origin": found.origin, "configured": found.configured}
        metadata[CHAMPION] = read_status(project).champion or ""
        novelty = Novelty(new=True, detail="")
        if compare:
            novelty = judge_novelty(project, read_champion_of_run(project, metadata), snapshot_digest=snapshot.digest)
        metadata |= {"new": novelty.new, "novelty": novelty.detail}
        record_part("snapshot", metadata)
        origin = f" ({found.origin})" if found.origin else ""
        step.detail = f"{metadata['source']}{origin}, {snapshot.digest[:19]}" + ("" if novelty.new else f"; {novelty.detail}")
        step.detail += f"; {note}" if note else ""
    return metadata


def pin_reference(location: str, target: Path) -> dict[str, Any]:
    """Pin what drift is measured against, and copy it to `target`.

    Args:
        location: Path, fsspec URL or pattern; empty for the champion's training data. If they are not on this machine, as in a
            pod, it is the reference that the champion's release carries.
        target: Path of the artifact.

    Returns:
        The artifact's metadata: ``digest``, ``source`` and ``suffix``. Data also have ``features`` with the names of the
        champion's features (none for a given location). A carried reference has ``form`` and ``snapshot_digest``.

    Raises:
        DataError: The data is missing or cannot be read.
        IntegrityError: The champion was altered.
        StateError: No location is given, and there is no champion.
    """
    project = read_project()
    with running_step("pin-reference") as step:
        place = resolve_snapshot(project, location).name if location else ""
        found = _pin_place(project, place) if place else find_reference(project)
        if isinstance(found, Snapshot):
            metadata = _copy_pinned(found, place or found.source, target)
            metadata["features"] = [] if location else [column.name for column in read_features(project)]
        else:
            metadata = _write_reference(require_champion(project), found, target)
        step.detail = f"{metadata['source']}, {metadata['digest'][:19]}"
    return metadata


def _write_reference(champion: Release, reference: DriftReference, target: Path) -> dict[str, Any]:
    """Write the reference that the champion's release carries as the artifact, and return its metadata."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(write_json(reference.to_dict(), sort=False))
    return {
        "digest": digest_file(target),
        "source": f"the reference that release {champion.number} carries",
        "suffix": ".json",
        "form": REFERENCE_FORM,
        "snapshot_digest": str(champion.manifest["data"]["snapshot_digest"]),
    }


def pin_data(project: Project, location: str = "") -> Snapshot:
    """Pin data of a project, and check that the file can be read.

    Args:
        project: The project.
        location: Path, fsspec URL or pattern; empty for what sluice.toml names.

    Raises:
        ConfigurationError: A pattern also matches the holdout.
        DataError: The data is missing or cannot be read.
    """
    return _pin_place(project, resolve_snapshot(project, location).name)


def _pin_place(project: Project, name: str) -> Snapshot:
    pinned = pin_snapshot(project.locate(name), project.state / SNAPSHOT_FOLDER)
    check_readable(pinned)
    return pinned


def _copy_pinned(snapshot: Snapshot, source: str, target: Path) -> dict[str, Any]:
    check_readable(snapshot)
    target.parent.mkdir(parents=True, exist_ok=True)
    if snapshot.path.is_dir():
        shutil.copytree(snapshot.path, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(snapshot.path, target)
    return {"digest": snapshot.digest, "source": strip_credentials(source), "suffix": snapshot.path.suffix}


def restore_snapshot(project: Project, artifact: Path, metadata: Mapping[str, Any]) -> Path:
    """Return a pinned artifact as a file or folder with its original suffix, after verifying its digest.

    An artifact of a pipeline has no suffix, but the project's loader may need it. The digest is verified because the artifact was
    stored outside Sluice in the meantime.

    Raises:
        DataError: The artifact is a folder with files that are not data, or it cannot be copied.
        IntegrityError: The artifact does not have the digest that was recorded when it was pinned.
    """
    digest = str(metadata["digest"])
    target = pinned_path(project.state / SNAPSHOT_FOLDER, digest, str(metadata.get("suffix", "")))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        if artifact.is_dir():
            copy_parts(artifact, draft)
            place_folder(draft, target, digest)
        else:
            shutil.copyfile(artifact, draft)
            draft.replace(target)
    if digest_data(target) != digest:
        raise IntegrityError(
            f"the snapshot {target.name} does not have the digest {digest}",
            hint="Delete it, and run the pipeline again from its first step.",
        )
    return target
