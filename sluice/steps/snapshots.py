"""The step that pins the data: it copies the snapshot and names the copy by its digest.

It is the first step of a pipeline. Therefore it also checks the other files that the pipeline will need after the training.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from sluice.data.snapshots import check_readable, digest_file, pin_snapshot
from sluice.errors import IntegrityError
from sluice.project.projects import Project, read_project
from sluice.steps.before_training.requirements import check_project
from sluice.steps.records import record_part, running_step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
        check_readable(snapshot)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(snapshot.path, target)
        metadata = {"digest": snapshot.digest, "source": source, "suffix": snapshot.path.suffix}
        record_part("snapshot", metadata)
        step.detail = f"{source}, {snapshot.digest[:19]}"
    return metadata


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
