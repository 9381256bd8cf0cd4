"""ROC and calibration of the challenger over the champion, on the holdout's test rows: for the report, never for the gate."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import holdout_digest, read_holdout
from sluice.project.projects import read_project
from sluice.release.store.releases import ReleaseStore
from sluice.statistics.auc import estimate_auc
from sluice.statistics.curves import calibration_points, roc_points
from sluice.steps.records import record_part
from sluice.steps.scoring import read_champion, score_release
from sluice.steps.training import checked_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project


ATTACHMENT = "curves"
"""Kind under which a release keeps its own curves: when it is champion they are drawn under the challenger's."""


def measure_curves(model: str, metadata: Mapping[str, Any], target: str) -> tuple[list[float], list[float], list[float]]:
    """Write the part ``curves`` of the run's record.

    Args:
        model: Local path of the fitted model.
        metadata: Its metadata, with the digest that it must have.
        target: Where the challenger's own curves go (JSON), with the holdout's digest.

    Returns:
        The challenger's ROC for KFP: false positive rates, true positive rates and the thresholds that give them.

    Raises:
        IntegrityError: The model's bytes are not those that were trained.
    """
    project = read_project()
    rows = read_holdout(project, part="test")
    scores = predict_probability(joblib.load(checked_model(Path(model), metadata)), rows.features)
    measured = curves(rows.labels, scores)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(measured | {"holdout": holdout_digest(project)}), encoding="utf-8")
    record_part("curves", {"challenger": measured, "champion": champion_curves(project, rows)})
    points = roc_points(rows.labels, scores)
    # The threshold of a corner is the score that as large a share of the negatives reaches.
    thresholds = np.quantile(scores[rows.labels == 0], 1 - np.asarray(points.fpr), method="lower")
    return list(points.fpr), list(points.tpr), [float(threshold) for threshold in thresholds]


def champion_curves(project: Project, rows: LabelledRows) -> dict[str, Any] | None:
    """The champion's curves: as it was measured when it was the challenger, or anew on a holdout that it has not seen."""
    champion = read_champion(project)
    if champion is None:
        return None
    for attached in ReleaseStore(project.state / "releases").attachments(champion.digest):
        if attached["kind"] == ATTACHMENT and attached["document"].get("holdout") == holdout_digest(project):
            return dict(attached["document"])
    return curves(rows.labels, score_release(project, champion, rows.features))


def curves(labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """ROC with its AUC and interval, and calibration, as plain JSON types."""
    estimate = estimate_auc(labels, scores)
    roc = dataclasses.asdict(roc_points(labels, scores))
    return {
        "roc": roc | {"auc": estimate.auc, "interval": dataclasses.asdict(estimate.interval)},
        "calibration": dataclasses.asdict(calibration_points(labels, scores)),
    }
