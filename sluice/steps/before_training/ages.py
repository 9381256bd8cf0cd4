"""Judge whether the holdout is old: whether it still shows the world that the present training data come from.

On an old holdout, a model that is better now may lose against the champion for ever. There are two signs. The features may have
drifted between the holdout and the training data (population stability index). Or the features are the same, and the outcome
depends on them in another way. Then the champion's AUC is lower on new labelled rows than on the holdout's test rows. The
champion is asked only about rows that it was not trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.overlaps import find_shared_ids
from sluice.drift.comparisons import DriftRule, compare_frames
from sluice.errors import DataError, SluiceError
from sluice.run_warnings import RunWarning
from sluice.statistics.auc import AucEstimate, estimate_auc
from sluice.steps.scoring import read_champion, score_release

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.data.holdout import Holdout
    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

MAX_ROWS = 4000
"""The champion is asked about at most this many rows of each side."""

LEAST_PER_CLASS = 30
"""With fewer rows of a class on either side, the champion's AUCs are not compared."""

LEAST_LOSS = 0.01
LOSS_TAIL = 0.001
"""The holdout is old if the champion's AUC is lower now by more than `LEAST_LOSS`, except with this probability of an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutAge:
    """The signs that a holdout is old.

    Attributes:
        features: What the comparison of the features found, in one clause.
        drifted: Feature → its population stability index, for those that have drifted. The largest is first.
        champion: What the comparison of the champion's AUCs found, in one clause.
        loss: The champion's AUC on the holdout's test rows minus that on new rows. None if it is not known.
        loss_bound: The lower bound of `loss` with an error probability of `LOSS_TAIL`.
    """

    features: str
    drifted: dict[str, float] = field(default_factory=dict)
    champion: str = ""
    loss: float | None = None
    loss_bound: float | None = None

    @property
    def worse_now(self) -> bool:
        """Whether the champion is worse on new rows than on the holdout."""
        return self.loss_bound is not None and self.loss_bound > LEAST_LOSS

    @property
    def old(self) -> bool:
        """Whether one of the signs is there."""
        return bool(self.drifted) or self.worse_now

    def describe(self) -> str:
        """Describe both comparisons in one clause."""
        return "; ".join(part for part in (self.features, self.champion) if part)

    def warn(self) -> RunWarning | None:
        """Return the warning about an old holdout; None if it is not old."""
        if not self.old:
            return None
        signs = [self.features] if self.drifted else []
        signs += [self.champion] if self.worse_now else []
        return RunWarning(
            kind="old-holdout",
            text=f"the holdout is old against the present training data: {'; '.join(signs)}",
            hint=(
                "A model that is better now may lose on this holdout. Make a new holdout from fresh labelled data with `sluice "
                "holdout new`, and switch to it with `sluice holdout rotate`."
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the signs as plain JSON types."""
        numbers = {"drifted": self.drifted, "loss": self.loss, "loss_bound": self.loss_bound}
        return {"old": self.old, "features": self.features, "champion": self.champion, **numbers}


def judge_age(project: Project, holdout: Holdout, training: LabelledRows, *, snapshot_digest: str) -> HoldoutAge:
    """Compare the holdout with the present training data.

    Args:
        project: The project.
        holdout: The holdout.
        training: The rows of the present training data.
        snapshot_digest: Their digest.
    """
    features, drifted = _compare_features(project, holdout.rows, training)
    try:
        champion = read_champion(project)
        if champion is None:
            return HoldoutAge(features=features, drifted=drifted)
        text, loss, bound = _compare_champion(project, champion, holdout.test, training, snapshot_digest)
    except SluiceError as error:
        text, loss, bound = f"the champion could not be asked about new rows: {error.message}", None, None
    return HoldoutAge(features=features, drifted=drifted, champion=text, loss=loss, loss_bound=bound)


def _compare_features(project: Project, holdout: LabelledRows, training: LabelledRows) -> tuple[str, dict[str, float]]:
    """Return what the comparison of the features found, and the index of each feature that has drifted."""
    settings = project.settings.drift
    rule = DriftRule(threshold=settings.threshold, alpha=settings.alpha, least_rows=settings.least_rows)
    try:
        result = compare_frames(holdout.features, training.features, columns=settings.columns, rule=rule)
    except DataError as error:
        return f"the features could not be compared: {error.message}", {}
    return result.detail, {name: round(result.features[name].estimate.psi, 4) for name in result.drifted}


def _compare_champion(
    project: Project, champion: Release, test: LabelledRows, training: LabelledRows, snapshot_digest: str
) -> tuple[str, float | None, float | None]:
    """Return what the comparison found, the champion's loss of AUC, and the loss's lower bound."""
    if champion.manifest["data"]["snapshot_digest"] == snapshot_digest:
        return "", None, None  # the champion was trained on exactly these rows
    known = read_training_rows(project, champion)
    if known is None:
        return "the champion's training data are not in this project's state, so its new rows are not known", None, None
    fresh = training.take(~find_shared_ids(training.ids, known.ids))
    if min(count_smaller_class(fresh), count_smaller_class(test)) < LEAST_PER_CLASS:
        return f"the training data have {len(fresh):,} rows that the champion does not know, too few to compare", None, None
    on_holdout, on_new = estimate_aucs(project, champion, test, fresh)
    loss, bound = measure_loss(on_holdout, on_new)
    text = (
        f"the champion's AUC is {on_new.auc:.3f} on {on_new.positives + on_new.negatives:,} new rows and "
        f"{on_holdout.auc:.3f} on the "
        f"holdout's test rows (it loses at least {max(bound, 0):.3f} at {1 - LOSS_TAIL:.1%} confidence)"
    )
    return text, loss, bound


def estimate_aucs(
    project: Project, release: Release, first: LabelledRows, second: LabelledRows
) -> tuple[AucEstimate, AucEstimate]:
    """Return a release's AUC on two sets of rows. One server of the release scores both."""
    picked = [rows.take(_spread(len(rows), MAX_ROWS)) for rows in (first, second)]
    names = [name for name in picked[0].features.columns if name in picked[1].features.columns]
    scores = score_release(project, release, pd.concat([rows.features[names] for rows in picked], ignore_index=True))
    border = len(picked[0])
    return estimate_auc(picked[0].labels, scores[:border]), estimate_auc(picked[1].labels, scores[border:])


def measure_loss(on_holdout: AucEstimate, on_new: AucEstimate) -> tuple[float, float]:
    """Return the loss of AUC between two independent sets of rows, and its lower bound with the error probability `LOSS_TAIL`."""
    loss = on_holdout.auc - on_new.auc
    return loss, loss + float(ndtri(LOSS_TAIL)) * math.hypot(on_holdout.standard_error, on_new.standard_error)


def read_training_rows(project: Project, release: Release) -> LabelledRows | None:
    """Read the rows that a release was trained on; None if their file is not in the project's state."""
    file = find_training_file(project, release)
    return read_labelled_rows(project, file) if file else None


def find_training_file(project: Project, release: Release) -> Path | None:
    """Return the pinned training data of a release; None if this project's state does not have it."""
    digest = str(release.manifest["data"]["snapshot_digest"])
    return next((project.state / "snapshots").glob(f"{digest.removeprefix('sha256:')}*"), None)


def count_smaller_class(rows: LabelledRows) -> int:
    """Return the number of rows of the class that has fewer of them."""
    positives = int(np.count_nonzero(rows.labels))
    return min(positives, len(rows) - positives)


def _spread(rows: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return at most this many positions, evenly spread over the rows."""
    return np.unique(np.linspace(0, rows - 1, num=min(rows, most)).astype(np.int64))
