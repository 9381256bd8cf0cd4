"""Whether the champion's AUC has fallen since the gate, on recent rows whose labels have arrived.

A change of the relation between features and label (concept drift) need not move any feature, so only labels show it. The two
AUCs come from different rows. Therefore they are independent, and the variances of DeLong, DeLong & Clarke-Pearson (Biometrics
1988) add.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.special import ndtr, ndtri

from sluice.drift.comparisons import DriftOutcome
from sluice.errors import DataError
from sluice.statistics.auc import compare_independent_auc, estimate_auc, find_standard_error
from sluice.statistics.samples import count_smaller_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from sluice.statistics.auc import AucDifference, AucEstimate

LEAST_PER_CLASS = 10
"""With fewer rows of either label, the interval of an AUC does not reach its stated coverage."""

STEADY_LEVEL = 0.95
"""The AUC is steady if, with this confidence, it has fallen by less than the tolerated drop."""

_POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class AucChange:
    """The change of the champion's AUC.

    Attributes:
        outcome: drifted, steady or inconclusive.
        before: The AUC on the test rows.
        now: The AUC on the recent rows; None if there are too few of them.
        difference: Now minus before, with its two-sided 95 % interval; None if there is no present AUC.
        p_value: Probability of such a fall if the AUC has not fallen; None if there is no present AUC.
        tolerated: The tolerated drop.
        detail: The result in one clause, for people.
        hint: What to do next; empty if there is no advice.
        left_out: Name of other data → number of rows that are not recent, because these data have them.
    """

    outcome: DriftOutcome
    before: AucEstimate
    now: AucEstimate | None
    difference: AucDifference | None
    p_value: float | None
    tolerated: float
    detail: str
    hint: str = ""
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value}


def estimate_before(labels: ArrayLike, scores: ArrayLike) -> AucEstimate:
    """Return the AUC on the test rows, with which recent rows are compared.

    Args:
        labels: The labels of the test rows, shape (rows,).
        scores: The champion's scores, shape (rows,).

    Raises:
        DataError: They cannot be used, or the test rows have fewer than 10 rows of either label.
    """
    estimate = _estimate((labels, scores), "the holdout's test rows")
    if estimate is None:
        raise DataError(
            f"the holdout's test rows have fewer than {LEAST_PER_CLASS} rows of either label", hint="Use a larger holdout."
        )
    return estimate


def compare_aucs(before: AucEstimate, now: tuple[ArrayLike, ArrayLike], *, tolerated: float, alpha: float) -> AucChange:
    """Compare the AUC of one model on recent rows with its AUC on the test rows.

    The AUC has drifted if it has fallen by more than `tolerated` and the fall is significant at `alpha`. It is steady if the
    upper 95 % bound of the fall is at most `tolerated`. Everything else is inconclusive.

    Args:
        before: The AUC on the test rows.
        now: Labels and scores of the recent rows, each of shape (rows,).
        tolerated: The drop of the AUC that does not matter, in (0, 1).
        alpha: One-sided level of the alarm, in (0, 1).

    Raises:
        DataError: The labels or scores cannot be used.
    """
    old = before
    new = _estimate(now, "the recent rows")
    was = f"{old.auc:.3f} (95 % interval {old.interval.low:.3f} to {old.interval.high:.3f}) on {_count(old):,} test rows"
    if new is None:
        needed = f"an AUC needs {LEAST_PER_CLASS} rows of either label"
        return AucChange(
            outcome=DriftOutcome.INCONCLUSIVE,
            before=old,
            now=None,
            difference=None,
            p_value=None,
            tolerated=tolerated,
            detail=f"too few recent rows: {needed}; the champion's AUC was {was}",
            hint="Wait until more labels have arrived.",
        )
    difference = compare_independent_auc(old, new)
    fall, error = -difference.difference, difference.standard_error
    p_value = float(ndtr(-fall / error)) if error else float(fall <= 0)
    is_now = f"the champion's AUC is {new.auc:.3f} on {_count(new):,} recent rows and was {was}"
    outcome, detail, hint = _judge(old, new, difference, p_value, tolerated=tolerated, alpha=alpha)
    return AucChange(
        outcome=outcome,
        before=old,
        now=new,
        difference=difference,
        p_value=p_value,
        tolerated=tolerated,
        detail=f"{is_now}; {detail}",
        hint=hint,
    )


def _judge(
    old: AucEstimate, new: AucEstimate, difference: AucDifference, p_value: float, *, tolerated: float, alpha: float
) -> tuple[DriftOutcome, str, str]:
    """Return the outcome, its reason and the advice."""
    fall, bound = -difference.difference, -difference.lower_bound(1 - STEADY_LEVEL)
    if fall > tolerated and p_value < alpha:
        reason = f"it has fallen by {fall:.3f}, more than the tolerated {tolerated:g} (p {p_value:.2g})"
        return DriftOutcome.DRIFTED, reason, "Retrain on recent rows, and look at what has changed."
    if bound <= tolerated:
        changed = f"fallen by at most {bound:.3f}" if bound > 0 else "not fallen"
        return DriftOutcome.STEADY, f"with {STEADY_LEVEL:.0%} confidence it has {changed} ({tolerated:g} is tolerated)", ""
    reason = f"it may have fallen by up to {bound:.3f}, and {tolerated:g} is tolerated"
    return DriftOutcome.INCONCLUSIVE, reason, _advise(old, new, tolerated)


def _advise(old: AucEstimate, new: AucEstimate, tolerated: float) -> str:
    """Say how many rows are needed so that an unchanged AUC is called steady with a probability of 0.8."""
    allowed = (tolerated / float(ndtri(STEADY_LEVEL) + ndtri(_POWER))) ** 2 - find_standard_error(old) ** 2
    if allowed <= 0:
        return "The holdout has too few test rows for so small a tolerated drop. Use a larger holdout or a larger drift.auc_drop."
    needed = math.ceil(_count(new) * find_standard_error(new) ** 2 / allowed)
    if needed <= _count(new):
        return "The AUC may have fallen a little. Wait for more labels, or look at what has changed."
    rounded = f"{math.ceil(needed / 100) * 100:,}"
    return f"About {rounded} recent rows are needed to see that an AUC has not fallen. Wait until more labels have arrived."


def _estimate(rows: tuple[ArrayLike, ArrayLike], what: str) -> AucEstimate | None:
    """Return the AUC; None if there are too few rows of either label."""
    labels, scores = rows
    if count_smaller_class(labels) < LEAST_PER_CLASS:
        return None
    try:
        return estimate_auc(labels, scores)
    except ValueError as error:
        raise DataError(f"{what} cannot be judged: {error}", hint="Check the champion's predictions for these rows.") from error


def _count(estimate: AucEstimate) -> int:
    return estimate.positives + estimate.negatives
