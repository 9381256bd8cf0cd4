"""The champion: its release, its features, its training data, and its scores.

The scores are computed in the release's own environment and with its own code, not with the present files of the project. The
present commit may have changed the features that the champion was trained with, and the present lock may have other libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.snapshots import PREFIX, Snapshot, digest_file
from sluice.errors import DataError, StateError
from sluice.release.golden_rows import read_golden_rows
from sluice.release.project_releases import open_releases
from sluice.rollout.requests.statuses import read_status
from sluice.scoring.release_scores import score_in_process, score_in_server

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project
    from sluice.release.feature_columns import Column
    from sluice.release.store.releases import Release

CHAMPION_ROWS = "the champion's training data"
"""The name of the rows that the champion was trained on in messages."""


def read_champion(project: Project) -> Release | None:
    """Return the champion, as the journal names it; None before the first release."""
    digest = read_status(project).champion
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
    """Return the data that a release was trained on: the pinned copy, or else ``data.snapshot`` if it has the same bytes.

    Returns:
        None if neither is here. A copy that was altered does not count.
    """
    digest = str(release.manifest["data"]["snapshot_digest"])
    copies = sorted((project.state / SNAPSHOT_FOLDER).glob(f"{digest.removeprefix(PREFIX)}*"))
    for path in (*copies, Path(project.locate(project.settings.data.snapshot))):
        if path.is_file() and digest_file(path) == digest:
            return Snapshot(path, digest, f"the training data of release {release.number}")
    return None


def require_training_data(project: Project) -> Snapshot:
    """Return the data that the champion was trained on.

    Raises:
        DataError: They are not here.
        StateError: There is no champion.
    """
    champion = require_champion(project)
    found = find_training_data(project, champion)
    if found is None:
        digest = str(champion.manifest["data"]["snapshot_digest"])
        raise DataError(
            f"the training data of release {champion.number} ({digest[:19]}) is not in {project.state / SNAPSHOT_FOLDER}",
            hint="Name a copy of it as the reference (`sluice drift --reference`, or the pipeline's argument).",
        )
    return found


def read_training_rows(project: Project, release: Release) -> LabelledRows | None:
    """Read the rows that a release was trained on; None if they are not here."""
    found = find_training_data(project, release)
    return read_labelled_rows(project, found.path) if found else None


def read_champion_training_rows(project: Project, *, present: str) -> tuple[dict[str, LabelledRows], tuple[str, ...]]:
    """Return the rows that the champion was trained on, under their name, and why they are not known.

    Both are empty if there is no champion, or if it was trained on the present training data.

    Args:
        project: The project.
        present: The digest of the present training data.
    """
    champion = read_champion(project)
    if champion is None or (digest := str(champion.manifest["data"]["snapshot_digest"])) == present:
        return {}, ()
    rows = read_training_rows(project, champion)
    if rows is None:
        folder = project.state / SNAPSHOT_FOLDER
        return {}, (f"the training data of the champion ({digest[:19]}) are not in {folder}",)
    return {CHAMPION_ROWS: rows}, ()


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
