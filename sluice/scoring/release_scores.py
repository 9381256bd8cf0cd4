"""Compute the scores that a release gives to rows, in the environment that serves it, and never under another lock.

Before a score is computed, the release is verified as at every start of a server: its digest, the versions of the libraries, and
its answers to the golden rows. The rows are sent as JSON, as clients send them.

- `score_in_server` starts a server of the release on this machine, in the serving environment that serving.python names.
- `score_in_process` is for a machine without that environment, such as the pod of a pipeline step. It starts a process of this
  environment. If the environment is not the one that the release was made in, the release refuses to load there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import sluice
from sluice.errors import DataError, RefusedError, ServiceError, SluiceError
from sluice.release.feature_columns import frame_to_rows
from sluice.release.golden_rows import read_golden_rows
from sluice.scoring.scorer import load_scorer
from sluice.scoring.server_process import start_server

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sluice.project.projects import Project
    from sluice.scoring.server_process import ReleaseServer

ROWS_IN_A_REQUEST = 500


def score_in_server(project: Project, folder: Path, digest: str, *features: pd.DataFrame) -> list[NDArray[np.float64]]:
    """Start a server of a release, ask it for the probabilities of one or several sets of rows, and stop it.

    Args:
        project: The project, which names the serving environment.
        folder: The unpacked model layer.
        digest: The digest of the release.
        features: Sets of rows, one row for each prediction. Columns that the model does not use are left out.

    Returns:
        For each set of rows, probabilities in [0, 1], shape (rows,).

    Raises:
        ConfigurationError: The serving environment does not exist.
        DataError: The rows lack a column, or the release refuses them.
        ServiceError: The server does not become ready, for example because its environment differs, or it fails.
    """
    wanted = [_pick_columns(folder, rows) for rows in features]
    with (
        tempfile.TemporaryDirectory(prefix="sluice-score-") as name,
        start_server(project, folder, digest, log=Path(name) / "server.log") as server,
    ):
        return [_ask_server(server, rows) for rows in wanted]


def _ask_server(server: ReleaseServer, rows: pd.DataFrame) -> NDArray[np.float64]:
    starts = range(0, len(rows), ROWS_IN_A_REQUEST)
    parts = [server.predict(rows.iloc[start : start + ROWS_IN_A_REQUEST]) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0)


def score_in_process(folder: Path, digest: str, *features: pd.DataFrame) -> list[NDArray[np.float64]]:
    """Compute the probabilities of one or several sets of rows in a new process of this environment.

    The process imports only the release's own code.

    Args:
        folder: As for `score_in_server`.
        digest: As for `score_in_server`.
        features: As for `score_in_server`.

    Returns:
        As for `score_in_server`.

    Raises:
        DataError: The rows lack a column.
        RefusedError: The release cannot be used in this environment. The message says why.
        ServiceError: The process failed.
    """
    wanted = [_pick_columns(folder, rows) for rows in features]
    with tempfile.TemporaryDirectory(prefix="sluice-score-") as name:
        rows, scores = Path(name) / "rows.json", Path(name) / "scores.npy"
        rows.write_text(
            json.dumps([{"names": list(part.columns), "rows": frame_to_rows(part)} for part in wanted]), encoding="utf-8"
        )
        command = [sys.executable, "-m", "sluice.scoring.release_scores", str(folder), digest, str(rows), str(scores)]
        # Of the folder that contains Sluice, only Sluice can be imported. A project may be in that folder too.
        path = Path(name) / "path"
        path.mkdir()
        (path / "sluice").symlink_to(Path(sluice.__file__).parent)
        environment = dict(os.environ) | {"PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=name)
        if done.returncode == 0:
            borders = np.cumsum([len(part) for part in wanted])[:-1]
            return np.split(np.asarray(np.load(scores), dtype=np.float64), borders)
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    if done.returncode == RefusedError.exit_code:
        raise RefusedError(last, hint="Keep the environment that the release was made in until another release is champion.")
    raise ServiceError(f"the process that scores release {digest[:19]} failed: {last}", hint="Run the step again with --debug.")


def _pick_columns(folder: Path, features: pd.DataFrame) -> pd.DataFrame:
    names = read_golden_rows(folder).names
    missing = [name for name in names if name not in features.columns]
    if missing:
        raise DataError(
            f"the rows lack {len(missing)} of the {len(names)} columns that the release was trained with: "
            f"{', '.join(missing[:5])}",
            hint="Let the loader return these columns as long as this release is the champion.",
        )
    return features[names]


def _main(folder: str, digest: str, rows: str, scores: str) -> None:
    """Score the rows in this process."""
    parts = json.loads(Path(rows).read_text(encoding="utf-8"))
    try:
        scorer = load_scorer(Path(folder), digest)
        found = [scorer.score(part["names"], part["rows"]) if part["rows"] else [] for part in parts]
        np.save(scores, np.concatenate([np.array(values, dtype=np.float64) for values in found]))
    except SluiceError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
