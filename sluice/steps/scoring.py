"""Compute the scores of a release with the code in its model layer, not with the present files of the project.

The present commit may have changed the features that the champion was trained with. Therefore each release is scored in a
separate process that can import only the release's own code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd

from sluice.errors import ServiceError
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.requests.statuses import read_status
from sluice.scoring.verified_imports import put_layer_first_on_path

if TYPE_CHECKING:
    import numpy.typing as npt

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release


def read_champion(project: Project) -> Release | None:
    """Return the champion, as the journal names it; None before the first release."""
    digest = read_status(project).champion
    return ReleaseStore(project.state / "releases").get(digest) if digest else None


def score_release(project: Project, release: Release, features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probabilities that a release predicts for rows of features.

    Args:
        project: The project whose store holds the release.
        release: The release.
        features: One row for each prediction, with the columns that the model was trained with.

    Returns:
        Probabilities in [0, 1], shape (rows,).

    Raises:
        IntegrityError: The release's files do not have its digest.
        ServiceError: The release's code cannot score the rows. The message has the last line that the code printed.
    """
    folder = ReleaseStore(project.state / "releases").unpack(release.digest)
    with tempfile.TemporaryDirectory(prefix="sluice-score-") as name:
        rows, scores = Path(name) / "rows.parquet", Path(name) / "scores.npy"
        features.to_parquet(rows)
        command = [sys.executable, "-m", "sluice.steps.scoring", str(folder), str(rows), str(scores)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=name)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise ServiceError(
                f"release {release.number} cannot score {len(features):,} rows with its own code: {last}",
                hint="If a library was upgraded since this release, replace the champion first and the holdout afterwards.",
            )
        return np.asarray(np.load(scores))


def _main(folder: str, rows: str, scores: str) -> None:
    """Score the rows in this process, which imports only the release's own, verified code."""
    put_layer_first_on_path(Path(folder))
    model = joblib.load(Path(folder) / "model.joblib")
    names = json.loads((Path(folder) / "golden.json").read_text(encoding="utf-8"))["names"]
    np.save(scores, model.predict_proba(pd.read_parquet(rows)[names])[:, 1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
