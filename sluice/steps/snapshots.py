"""The steps that pin data: they copy the snapshot, or the champion's training data, and name the copy by its digest.

Pinning the snapshot is the first step of a pipeline. Therefore it also checks the other files that the pipeline will need after
the training.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.snapshots import Snapshot, check_readable, digest_file, pin_snapshot
from sluice.errors import DataError, IntegrityError, StateError
from sluice.project.projects import Project, read_project
from sluice.release.golden_rows import read_golden_rows
from sluice.release.store.releases import ReleaseStore
from sluice.steps.before_training.requirements import check_project
from sluice.steps.records import record_part, running_step
from sluice.steps.scoring import read_champion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.release.feature_columns import Column
    from sluice.release.store.releases import Release


def pin(location: str, target: Path) -> dict[str, Any]:
    """Check the files that the pipeline needs, pin a snapshot, and copy it to `target`.

    Args:
        location: Path or fsspec URL; empty for ``data.snapshot`` of sluice.toml.
        target: Path of the artifact.

    Returns:
        The artifact's metadata: ``digest``, ``source`` and ``suffix``.

    Raises:
        ConfigurationError: project.packages or serving.lock names something that does not exist.
        DataError: The snapshot or the holdout is missing or cannot be read.
        IntegrityError: The holdout is not the declared one.
    """
    project = read_project()
    with running_step("pin-snapshot") as step:
        check_project(project)
        source = location or project.settings.data.snapshot
        snapshot = pin_snapshot(project.locate(source), project.state / "snapshots")
        metadata = _copy_pinned(snapshot, source, target)
        record_part("snapshot", metadata)
        step.detail = f"{source}, {snapshot.digest[:19]}"
    return metadata


def pin_reference(location: str, target: Path) -> dict[str, Any]:
    """Pin the data that drift is measured against, and copy it to `target`.

    Args:
        location: Path or fsspec URL; empty for the champion's training data.
        target: Path of the artifact.

    Returns:
        The artifact's metadata: ``digest``, ``source``, ``suffix``, and ``features`` with the names of the champion's features
        (none for a given location).

    Raises:
        DataError: The data is missing or cannot be read.
        IntegrityError: The champion was altered.
        StateError: No location is given, and there is no champion.
    """
    project = read_project()
    with running_step("pin-reference") as step:
        if location:
            snapshot = pin_snapshot(project.locate(location), project.state / "snapshots")
        else:
            snapshot = find_training_data(project)
        source = location or snapshot.source
        metadata = _copy_pinned(snapshot, source, target)
        metadata["features"] = [] if location else [column.name for column in read_features(project)]
        step.detail = f"{source}, {snapshot.digest[:19]}"
    return metadata


def _copy_pinned(snapshot: Snapshot, source: str, target: Path) -> dict[str, Any]:
    check_readable(snapshot)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(snapshot.path, target)
    return {"digest": snapshot.digest, "source": source, "suffix": snapshot.path.suffix}


def require_champion(project: Project) -> Release:
    """Return the champion.

    Raises:
        StateError: There is none.
    """
    champion = read_champion(project)
    if champion is None:
        raise StateError(
            "there is no champion, so there is nothing to compare with",
            hint="Name a reference (`sluice drift --reference`, or the pipeline's argument), or release a model first.",
        )
    return champion


def read_features(project: Project) -> tuple[Column, ...]:
    """Return the columns that the champion was fitted on.

    Raises:
        IntegrityError: The champion was altered.
        StateError: There is no champion.
    """
    champion = require_champion(project)
    return read_golden_rows(ReleaseStore(project.state / "releases").unpack(champion.digest)).columns


def find_training_data(project: Project) -> Snapshot:
    """Return the data that the champion was trained on: the pinned copy, or else ``data.snapshot`` if it has the same bytes.

    Raises:
        DataError: Neither is here.
        StateError: There is no champion.
    """
    champion = require_champion(project)
    digest, source = str(champion.manifest["data"]["snapshot_digest"]), f"the training data of release {champion.number}"
    folder = project.state / "snapshots"
    for path in (
        *sorted(folder.glob(f"{digest.removeprefix('sha256:')}*")),
        Path(project.locate(project.settings.data.snapshot)),
    ):
        if path.is_file() and digest_file(path) == digest:
            return Snapshot(path, digest, source)
    raise DataError(
        f"{source} ({digest[:19]}) is not in {folder}",
        hint="Name a copy of it as the reference (`sluice drift --reference`, or the pipeline's argument).",
    )


def restore_snapshot(project: Project, artifact: Path, metadata: Mapping[str, Any]) -> Path:
    """Return a pinned artifact as a file with its original suffix, after verifying its digest.

    An artifact of a pipeline has no suffix, but the project's loader may need it. The digest is verified because the artifact was
    stored outside Sluice in the meantime.

    Raises:
        IntegrityError: The file does not have the digest that was recorded when it was pinned.
    """
    digest = str(metadata["digest"])
    target = project.state / "snapshots" / f"{digest.removeprefix('sha256:')}{metadata.get('suffix', '')}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(artifact, draft)
        draft.replace(target)
    if digest_file(target) != digest:
        raise IntegrityError(
            f"the snapshot {target.name} does not have the digest {digest}",
            hint="Delete the file, and run the pipeline again from its first step.",
        )
    return target
