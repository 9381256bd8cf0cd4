"""Judge whether the holdout is old: whether it still shows the world that the present training data come from.

On an old holdout, a model that is better now may lose against the champion for ever. There are two signs. The features may have
drifted between the holdout and the training data (population stability index). Or the features are the same, and the outcome
depends on them in another way. Then the champion's AUC is lower on new labelled rows than on the holdout's test rows. The
champion is asked only about rows that it was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.data.overlaps import find_shared_ids
from sluice.drift.comparisons import compare_frames, read_drift_rule
from sluice.errors import DataError, SluiceError
from sluice.run_warnings import RunWarning
from sluice.statistics.auc import compare_independent_auc, estimate_auc
from sluice.statistics.samples import count_smaller_class
from sluice.steps.champions import read_training_rows, score_release

if TYPE_CHECKING:
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


def judge_age(
    project: Project, champion: Release | None, holdout: Holdout, training: LabelledRows, *, snapshot_digest: str
) -> HoldoutAge:
    """Compare the holdout with the present training data.

    Args:
        project: The project.
        champion: The champion; None if there is none.
        holdout: The holdout.
        training: The rows of the present training data.
        snapshot_digest: Their digest.
    """
    features, drifted = _compare_features(project, holdout.rows, training)
    if champion is None:
        return HoldoutAge(features=features, drifted=drifted)
    try:
        text, loss, bound = _compare_champion(project, champion, holdout.test, training, snapshot_digest)
    except SluiceError as error:
        text, loss, bound = f"the champion could not be asked about new rows: {error.message}", None, None
    return HoldoutAge(features=features, drifted=drifted, champion=text, loss=loss, loss_bound=bound)


def _compare_features(project: Project, holdout: LabelledRows, training: LabelledRows) -> tuple[str, dict[str, float]]:
    """Return what the comparison of the features found, and the index of each feature that has drifted."""
    settings = project.settings.drift
    try:
        result = compare_frames(holdout.features, training.features, columns=settings.columns, rule=read_drift_rule(settings))
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
    if min(count_smaller_class(fresh.labels), count_smaller_class(test.labels)) < LEAST_PER_CLASS:
        return f"the training data have {len(fresh):,} rows that the champion does not know, too few to compare", None, None
    picked = [rows.pick_evenly(MAX_ROWS) for rows in (test, fresh)]
    scores = score_release(project, champion, *(rows.features for rows in picked))
    on_holdout, on_new = (estimate_auc(rows.labels, found) for rows, found in zip(picked, scores, strict=True))
    loss = compare_independent_auc(on_new, on_holdout)
    bound = loss.lower_bound(LOSS_TAIL)
    text = (
        f"the champion's AUC is {on_new.auc:.3f} on {on_new.positives + on_new.negatives:,} new rows and {on_holdout.auc:.3f} on "
        f"the holdout's test rows ({describe_loss(loss.difference, bound)})"
    )
    return text, loss.difference, bound


def describe_loss(loss: float, bound: float) -> str:
    """Describe a loss of AUC and its lower bound with an error probability of `LOSS_TAIL`. A negative loss is a gain."""
    if bound > 0:
        return f"it loses at least {bound:.3f} at {1 - LOSS_TAIL:.1%} confidence"
    return f"no loss: it gains {abs(loss):.3f}" if loss <= 0 else f"a loss of {loss:.3f}, which chance explains"
