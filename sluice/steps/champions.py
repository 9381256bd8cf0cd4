"""The champion: its release, its features, its training data, its reference for drift, and its scores.

The scores are computed in the release's own environment and with its own code, not with the present files of the project. The
present commit may have changed the features that the champion was trained with, and the present lock may have other libraries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.locations import is_pattern
from sluice.data.snapshots import PREFIX, Snapshot, digest_data, pin_for_reading
from sluice.drift.project_rows import freeze_file
from sluice.drift.references import DriftReference
from sluice.errors import DataError, StateError
from sluice.release.golden_rows import read_golden_rows
from sluice.release.model_layer import DRIFT_REFERENCE_FILE
from sluice.release.project_releases import open_releases
from sluice.rollout.requests.statuses import read_status
from sluice.scoring.release_scores import score_in_process, score_in_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project
    from sluice.release.feature_columns import Column
    from sluice.release.store.releases import Release

CHAMPION = "champion"
"""Key in the metadata of the snapshot and of the model: the digest of the champion of the run; empty if there is none."""

CHAMPION_ROWS = "the champion's training data"
"""The name of the rows that the champion was trained on in messages."""


def read_champion(project: Project) -> Release | None:
    """Return the champion, as the journal names it; None before the first release."""
    digest = read_status(project).champion
    return open_releases(project).get(digest) if digest else None


def read_champion_of_run(project: Project, metadata: Mapping[str, Any]) -> Release | None:
    """Return the champion that the first step of the run found; None if there was none.

    Its digest travels in the metadata of the snapshot and of the model. So a step that runs the project's or the model's code
    needs no access to the cluster, and all steps of a run compare with the same champion. Metadata of an earlier version, or of
    a model that was trained outside a run, do not name a champion. Then the journal is asked.

    Args:
        project: The project.
        metadata: The metadata of an artifact, with ``champion``: the champion's digest; empty if there is none.
    """
    if CHAMPION not in metadata:
        return read_champion(project)
    digest = str(metadata[CHAMPION])
    return open_releases(project).get(digest) if digest else None


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
    return read_golden_rows(open_releases(project).unpack(champion.digest)).columns


def find_training_data(project: Project, release: Release) -> Snapshot | None:
    """Return the data that a release was trained on, as `locate_training_data` finds it; None if nobody has it."""
    return locate_training_data(project, release)[0]


def locate_training_data(project: Project, release: Release, *, fetch: bool = True) -> tuple[Snapshot | None, str]:
    """Return the data that a release was trained on.

    It is the pinned copy, or else ``data.snapshot`` if it has the same bytes, or else what the release's manifest names as the
    source, if that still has the same bytes. A copy that was altered does not count. A pattern is not resolved, because the
    manifest names the match that the release was trained on, and there may be newer ones.

    Args:
        project: The project.
        release: The release.
        fetch: Whether the data may be read from its source again. A large file takes long.

    Returns:
        The data, and an empty text; or None, and why nobody has it.
    """
    digest = str(release.manifest["data"]["snapshot_digest"])
    name, folder = f"the training data of release {release.number}", project.state / SNAPSHOT_FOLDER
    present = project.settings.data.snapshot
    places = [Path(project.locate(present))] if present and not is_pattern(present) else []
    for path in (*sorted(folder.glob(f"{digest.removeprefix(PREFIX)}*")), *places):
        if path.exists() and digest_data(path) == digest:
            return Snapshot(path, digest, name), ""
    missing = f"not in {folder}"
    source = str(release.manifest["data"].get("snapshot_source") or "")
    if not source or not fetch:
        return None, missing
    try:
        fetched = pin_for_reading(project.locate(source), folder)
    except DataError as error:
        return None, f"{missing}, and its source cannot be read ({error.message})"
    if fetched.digest != digest:
        return None, f"{missing}, and its source {source} has other contents now ({fetched.digest[:19]})"
    return Snapshot(fetched.path, digest, name), ""


def require_training_data(project: Project) -> Snapshot:
    """Return the data that the champion was trained on.

    Raises:
        DataError: Nobody has them. The message says where they were looked for.
        StateError: There is no champion.
    """
    champion = require_champion(project)
    found, missing = locate_training_data(project, champion)
    if found is None:
        raise _miss_training_data(champion, missing)
    return found


def _miss_training_data(release: Release, missing: str) -> DataError:
    digest = str(release.manifest["data"]["snapshot_digest"])
    return DataError(
        f"the training data of release {release.number} ({digest[:19]}) is {missing}",
        hint="Name a copy of it as the reference (`sluice drift --reference`, or the pipeline's argument).",
    )


def find_reference(project: Project) -> Snapshot | DriftReference:
    """Return what drift is measured against: the champion's training data, or the reference that its release carries.

    The data come first if a copy is on this machine, because a comparison can then choose other columns than at training.
    They are fetched from their source only for a release of an earlier version, which carries no reference.

    Raises:
        DataError: There is neither.
        IntegrityError: The champion was altered.
        StateError: There is no champion.
    """
    champion = require_champion(project)
    found, _ = locate_training_data(project, champion, fetch=False)
    return found or _read_carried_reference(project, champion) or require_training_data(project)


def read_drift_reference(project: Project, release: Release) -> DriftReference:
    """Return the reference for drift that was frozen when a release was trained.

    A release of an earlier version carries none. For such a release, the reference is frozen now from its training data.

    Raises:
        DataError: The release carries no reference, and nobody has its training data.
        IntegrityError: The release was altered.
        ServiceError: The release is not on this machine, and the registry does not answer.
    """
    if (carried := _read_carried_reference(project, release)) is not None:
        return carried
    found, missing = locate_training_data(project, release)
    if found is None:
        raise _miss_training_data(release, missing)
    columns = read_golden_rows(open_releases(project).unpack(release.digest)).columns
    return freeze_file(project, found.path, found.source, [column.name for column in columns])


def _read_carried_reference(project: Project, release: Release) -> DriftReference | None:
    file = open_releases(project).unpack(release.digest) / DRIFT_REFERENCE_FILE
    return DriftReference.from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def read_training_rows(project: Project, release: Release) -> LabelledRows | None:
    """Read the rows that a release was trained on; None if they are not here."""
    found = find_training_data(project, release)
    return read_labelled_rows(project, found.path) if found else None


def read_champion_training_rows(
    project: Project, champion: Release | None, *, present: str
) -> tuple[dict[str, LabelledRows], tuple[str, ...]]:
    """Return the rows that the champion was trained on, under their name, and why they are not known.

    Both are empty if there is no champion, or if it was trained on the present training data.

    Args:
        project: The project.
        champion: The champion; None if there is none.
        present: The digest of the present training data.
    """
    if champion is None or (digest := str(champion.manifest["data"]["snapshot_digest"])) == present:
        return {}, ()
    found, missing = locate_training_data(project, champion)
    if found is None:
        return {}, (f"the training data of the champion ({digest[:19]}) are {missing}",)
    return {CHAMPION_ROWS: read_labelled_rows(project, found.path)}, ()


def score_release(project: Project, release: Release, *features: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
    """Return the probabilities that a release predicts for one or several sets of rows.

    A server of the release computes them, in the serving environment. Where that environment does not exist, as in the pod of a
    pipeline step, a process of the present environment computes them. The release verifies either environment before it answers.

    Args:
        project: The project whose store holds the release.
        release: The release.
        features: Sets of rows, one row for each prediction, with the columns that the model was trained with. One server or
            process scores all of them.

    Returns:
        For each set of rows, probabilities in [0, 1], shape (rows,).

    Raises:
        DataError: The rows lack a column, or the release refuses them.
        IntegrityError: The release's files do not have its digest.
        RefusedError: The present environment is not the one that the release was made in.
        ServiceError: The server or the process failed. The message says why.
    """
    folder = open_releases(project).unpack(release.digest)
    if project.path(project.settings.serving.python).is_file():
        return score_in_server(project, folder, release.digest, *features)
    return score_in_process(folder, release.digest, *features)
