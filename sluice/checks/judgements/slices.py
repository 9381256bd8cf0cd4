"""The AUC in several slices at once, so that a weakness in a part of the rows is seen and chance alone fails no model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sluice.checks.announcements import announced
from sluice.checks.judgements.metrics import describe_not_finite, judge_auc
from sluice.checks.judgements.readings import (
    LEAST_PER_CLASS,
    LEAST_ROWS,
    predict_probability,
    read_level,
    read_limit,
    read_predictions,
)
from sluice.checks.verdict_text import join_parts
from sluice.errors import DataError
from sluice.statistics.auc import estimate_auc
from sluice.statistics.auc_p_values import p_value_above, p_value_below
from sluice.statistics.multiplicity import holm
from sluice.statistics.required_rows import rows_for_auc
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.data.holdout import LabelledRows
    from sluice.statistics.auc import AucEstimate


@announced
def judge_slices(
    check: str,
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    rows: LabelledRows,
    slices: Mapping[str, str],
    *,
    threshold: float,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
    least_per_class: int = LEAST_PER_CLASS,
) -> list[Verdict]:
    """Compare the AUC of each slice with a lower threshold, all slices together by Holm's method.

    A slice fails if it is shown to be below the threshold. With ten slices, one of them is often below by chance, so the
    probability of any false failure is kept at (1 - level) / 2 over all of them. A slice whose AUC is below the threshold,
    without being shown to be, is inconclusive. A slice whose AUC is above passes, and it is unproven unless it is shown to be
    above.

    Args:
        check: Name of the verdicts. The name of the slice follows: ``auc_enterprise``.
        model: A fitted classifier.
        rows: The rows, for example the fixture ``holdout``.
        slices: Name of a slice → pandas query that selects its rows, for example ``project.settings.data.slices``.
        threshold: The smallest AUC that passes, in [0, 1].
        level: Coverage of each two-sided interval.
        least_rows: With fewer rows in a slice, its verdict is inconclusive.
        least_per_class: With fewer rows of either label in a slice, its verdict is inconclusive too.

    Returns:
        One verdict per slice, in the order of the slices.

    Raises:
        DataError: There is no slice, a query cannot be evaluated, or the model does not return probabilities.
    """
    threshold, level = read_limit(check, threshold), read_level(check, level)
    if not slices:
        raise DataError(f"{check}: there is no slice to judge", hint="Name slices under [data.slices] of sluice.toml.")
    verdicts: list[Verdict] = []
    estimates: dict[int, AucEstimate] = {}
    for name, query in slices.items():
        part = rows.select(query)
        scores = read_predictions(check, predict_probability(model, part.features) if len(part) else [])
        limits = {"threshold": threshold, "level": level, "least_rows": least_rows, "least_per_class": least_per_class}
        verdict = judge_auc(f"{check}_{name}", part.labels, scores, **limits)  # type: ignore[arg-type]
        if verdict.outcome is not Outcome.INCONCLUSIVE and not describe_not_finite(scores):
            estimates[len(verdicts)] = estimate_auc(part.labels, scores, level=level)
        verdicts.append(verdict)
    return _judge_together(verdicts, estimates, threshold=threshold, level=level)


def _judge_together(
    verdicts: Sequence[Verdict], estimates: Mapping[int, AucEstimate], *, threshold: float, level: float
) -> list[Verdict]:
    """Return the verdicts with the outcome that follows from all slices together.

    Args:
        verdicts: The verdict of each slice on its own.
        estimates: Position of a slice → its AUC. Slices with too few rows are not among them.
        threshold: The smallest AUC that passes.
        level: Coverage of each two-sided interval.
    """
    tail = (1 - level) / 2
    below = holm([p_value_below(estimate, threshold) for estimate in estimates.values()])
    above = holm([p_value_above(estimate, threshold) for estimate in estimates.values()])
    judged = list(verdicts)
    for place, (at, estimate) in enumerate(estimates.items()):
        found = judged[at]
        if not found.failed:
            judged[at] = dataclasses.replace(found, unproven=bool(above[place] > tail))
        elif below[place] > tail:
            judged[at] = dataclasses.replace(
                found, outcome=Outcome.INCONCLUSIVE, detail=join_parts(found.detail, _advise(estimate, threshold, level))
            )
    return judged


def _advise(estimate: AucEstimate, threshold: float, level: float) -> str:
    """Say about how many rows would show that the AUC is below the threshold. By symmetry, that its mirror image is above."""
    mirrored = dataclasses.replace(estimate, auc=1 - estimate.auc)
    enough = rows_for_auc(mirrored, 1 - threshold, level=level)
    many = f"; if the AUC stays so low, about {enough:,} rows show it" if enough else ""
    return f"it is below the threshold, but with so few rows this may be chance{many}"
