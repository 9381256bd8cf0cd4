"""Scores of a release, made by its own code: the folder ``code/`` of its model layer, never the project's present files.

The present commit may have changed the very features that the champion was fitted with, so each release is scored in a
process of its own that sees only its own code.
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
    """The release that takes production traffic by the journal; None before the first."""
    digest = read_status(project).champion
    return ReleaseStore(project.state / "releases").get(digest) if digest else None


def score_release(project: Project, release: Release, features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Probabilities of a release for rows of features.

    Args:
        project: The project whose store holds the release.
        release: The release.
        features: One row per prediction, the columns that the model was fitted with.

    Returns:
        Probabilities in [0, 1], shape (rows,).

    Raises:
        IntegrityError: The release's bytes do not have its digest.
        ServiceError: Its own code cannot score the rows; the message has the last line that it printed.
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
                hint="If a library was upgraded since, rotate the holdout only after the champion was replaced.",
            )
        return np.asarray(np.load(scores))


def _main(folder: str, rows: str, scores: str) -> None:
    """Score in a process that imports the release's own, verified code."""
    put_layer_first_on_path(Path(folder))
    model = joblib.load(Path(folder) / "model.joblib")
    names = json.loads((Path(folder) / "golden.json").read_text(encoding="utf-8"))["names"]
    np.save(scores, model.predict_proba(pd.read_parquet(rows)[names])[:, 1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
