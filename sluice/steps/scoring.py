"""Compute the scores of a release in its own environment and with its own code, not with the present files of the project.

The present commit may have changed the features that the champion was trained with, and the present lock may have other
libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.release.store.releases import ReleaseStore
from sluice.rollout.requests.statuses import read_status
from sluice.scoring.release_scores import score_in_process, score_in_server

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release


def read_champion(project: Project) -> Release | None:
    """Return the champion, as the journal names it; None before the first release."""
    digest = read_status(project).champion
    return ReleaseStore(project.state / "releases").get(digest) if digest else None


def score_release(project: Project, release: Release, features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probabilities that a release predicts for rows of features.

    A server of the release computes them, in the serving environment. Where that environment does not exist, as in the pod of a
    pipeline step, a process of the present environment computes them. The release verifies either environment before it answers.

    Args:
        project: The project whose store holds the release.
        release: The release.
        features: One row for each prediction, with the columns that the model was trained with.

    Returns:
        Probabilities in [0, 1], shape (rows,).

    Raises:
        DataError: The rows lack a column, or the release refuses them.
        IntegrityError: The release's files do not have its digest.
        RefusedError: The present environment is not the one that the release was made in.
        ServiceError: The server or the process failed. The message says why.
    """
    folder = ReleaseStore(project.state / "releases").unpack(release.digest)
    if project.path(project.settings.serving.python).is_file():
        return score_in_server(project, folder, release.digest, features)
    return score_in_process(folder, release.digest, features)
