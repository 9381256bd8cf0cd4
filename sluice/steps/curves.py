"""Measure the ROC and the calibration of challenger and champion on the holdout's test rows.

The report shows them. The gate does not use them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.checks.judgements import predict_probability
from sluice.data.holdout import holdout_digest, read_holdout
from sluice.data.row_scores import digest_rows
from sluice.errors import DataError
from sluice.leaks.jumps import MeasuredAuc, judge_jump
from sluice.project.projects import read_project
from sluice.release.project_releases import open_releases
from sluice.statistics.auc import AucEstimate, estimate_auc
from sluice.statistics.curves import calibration_points, roc_points
from sluice.steps.champions import read_champion_of_run, score_release
from sluice.steps.records import record_part, record_warnings
from sluice.steps.training import load_trained_model
from sluice.verdicts import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release
    from sluice.run_warnings import RunWarning


ATTACHMENT = "curves"
"""Kind of the attachment that holds a release's curves. Once it is champion, they are drawn with the next challenger's."""


def measure_curves(model: str, metadata: Mapping[str, Any], target: str) -> tuple[list[float], list[float], list[float]]:
    """Measure the curves, and write the part ``curves`` of the run's record.

    Args:
        model: Local path of the fitted model.
        metadata: The model's metadata, with the digest that it must have and the champion of the run.
        target: Path to write the challenger's curves to (JSON), with the digests of the holdout and of the test rows, and with
            the warnings about the scores.

    Returns:
        The challenger's ROC for KFP: false positive rates, true positive rates, and the thresholds that belong to them.

    Raises:
        DataError: The test rows have only one label, or a score is not a probability.
        IntegrityError: The model does not have the digest that training recorded.
    """
    project = read_project()
    rows = read_holdout(project, part="test")
    scores = predict_probability(load_trained_model(Path(model), metadata), rows.features)
    measured, champion = curves(rows.labels, scores), champion_curves(project, read_champion_of_run(project, metadata), rows)
    warnings = warn_of_jump(champion, measured)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    bound = {"holdout": holdout_digest(project), "rows": digest_rows(rows.ids)}
    document = measured | bound | {"warnings": [warning.to_dict() for warning in warnings]}
    Path(target).write_text(json.dumps(document), encoding="utf-8")
    record_part("curves", {"challenger": measured, "champion": champion})
    record_warnings("model-tests", warnings)
    points = roc_points(rows.labels, scores)
    # The threshold of a point is the score that this share of the negative rows reaches or exceeds.
    thresholds = np.quantile(scores[rows.labels == 0], 1 - np.asarray(points.fpr), method="lower")
    return list(points.fpr), list(points.tpr), [float(threshold) for threshold in thresholds]


def champion_curves(project: Project, champion: Release | None, rows: LabelledRows) -> dict[str, Any] | None:
    """Return the champion's curves; None if there is no champion.

    They were measured when the champion was the challenger. If the holdout or the choice of its test rows has changed since, they
    are measured again.
    """
    if champion is None:
        return None
    bound = {"holdout": holdout_digest(project), "rows": digest_rows(rows.ids)}
    for attached in open_releases(project).attachments(champion.digest):
        if attached["kind"] == ATTACHMENT and bound.items() <= attached["document"].items():
            return dict(attached["document"])
    (scores,) = score_release(project, champion, rows.features)
    return curves(rows.labels, scores)


def read_estimate_at_gate(project: Project, release: Release) -> AucEstimate | None:
    """Return the AUC that a release had on the test rows when it was the challenger.

    Returns:
        None if no curves are attached to it for the holdout of its manifest, or if an earlier version attached them.
    """
    holdout = release.manifest["data"]["holdout_digest"]
    for attached in open_releases(project).attachments(release.digest):
        if attached["kind"] == ATTACHMENT and attached["document"].get("holdout") == holdout:
            roc = attached["document"]["roc"]
            names = [field.name for field in dataclasses.fields(AucEstimate)]
            if all(name in roc for name in names):
                return AucEstimate(**{name: roc[name] for name in names} | {"interval": Interval(**roc["interval"])})
    return None


def curves(labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the ROC with its AUC and interval, and the calibration, as plain JSON types.

    Raises:
        DataError: The rows have only one label, or a score is not a probability.
    """
    try:
        estimate = estimate_auc(labels, scores)
        roc = dataclasses.asdict(roc_points(labels, scores))
        calibration = dataclasses.asdict(calibration_points(labels, scores))
    except ValueError as error:
        hint = "Use a holdout whose test rows have both labels, and a model that returns a probability for every row."
        raise DataError(f"the curves of the model cannot be measured on the test rows: {error}", hint=hint) from error
    return {
        "roc": roc | dataclasses.asdict(estimate),
        "calibration": calibration,
    }


def warn_of_jump(champion: Mapping[str, Any] | None, challenger: Mapping[str, Any]) -> list[RunWarning]:
    """Return a warning if the challenger's AUC on the test rows is implausibly far above the champion's."""
    if champion is None:
        return []
    before, now = (MeasuredAuc(one["roc"]["auc"], Interval(**one["roc"]["interval"])) for one in (champion, challenger))
    warning = judge_jump(before, now)
    return [warning] if warning else []
