"""Judge whether a challenger is so much better than the champion that a leak is more likely than a better model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.run_warnings import RunWarning

if TYPE_CHECKING:
    from sluice.verdicts import Interval

LEAST_SHARE_LEFT = 1 / 3
"""A jump is implausible if less than this share of the champion's distance to a perfect AUC is left."""


@dataclass(frozen=True, slots=True)
class MeasuredAuc:
    """The AUC of one model on the holdout's test rows, with its 95 % interval."""

    auc: float
    interval: Interval


def judge_jump(champion: MeasuredAuc, challenger: MeasuredAuc) -> RunWarning | None:
    """Return a warning if the challenger's AUC is implausibly far above the champion's on the same test rows; otherwise None.

    A jump is implausible if the challenger removes more than two thirds of what separates the champion from a perfect AUC, and
    if the 95 % intervals of both do not overlap. From 0.84, this needs an AUC above 0.947.

    Args:
        champion: The champion's AUC on the holdout's test rows.
        challenger: The challenger's AUC on the same rows.
    """
    if challenger.interval.low <= champion.interval.high or 1 - challenger.auc >= LEAST_SHARE_LEFT * (1 - champion.auc):
        return None
    return RunWarning(
        kind="implausible-jump",
        text=(
            f"the challenger's AUC on the test rows is {challenger.auc:.3f} (95 % interval {challenger.interval.low:.3f} to "
            f"{challenger.interval.high:.3f}) and the champion's is {champion.auc:.3f}: more than two thirds of the "
            "distance to a perfect model are gone, which is more often a leak than a better model"
        ),
        hint="Find out which feature or which rows explain the jump, before you approve the release.",
    )
