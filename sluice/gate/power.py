"""Which differences the gate can see with a holdout, before any model is trained. Pure."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.special import ndtri

from sluice.gate.decision import MIN_PER_CLASS
from sluice.statistics.auc import predict_difference_error, quantile

if TYPE_CHECKING:
    from sluice.gate.ledger_documents import GateRule

POWER = 0.8
"""The probability with which the gate should promote a challenger that is better by the stated difference."""

TARGET = 0.005
"""The difference of AUCs for which the needed rows are stated."""

ASSUMED_AUC, ASSUMED_CORRELATION = 0.85, 0.9
"""What is assumed of champion and challenger before there are scores of two releases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePower:
    """What the gate can see with a holdout.

    Attributes:
        rows: The number of gate rows.
        positives: The number of gate rows with label 1.
        level: The confidence of each answer, 1 - alpha / budget.
        margin: The difference that the challenger must exceed.
        standard_error: The standard error of the difference of two AUCs on these rows. None if a class has too few rows.
        measured: Whether the standard error was measured on the scores of two releases. Otherwise it is predicted for models with
            an AUC of 0.85 whose scores have a correlation of 0.9.
        detectable: The true difference that the gate promotes with a probability of 0.8. None if a class has too few rows.
        target: A difference of interest.
        rows_for_target: The gate rows with which the gate promotes a challenger that is better by the target with a probability
            of 0.8. None if no number of rows is enough, because the margin is not smaller, or if a class has no row.
        rows_without_margin: The same number if the margin were 0. None if a class has no row.
    """

    rows: int
    positives: int
    level: float
    margin: float
    standard_error: float | None
    measured: bool
    detectable: float | None
    target: float
    rows_for_target: int | None
    rows_without_margin: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types, with the sentence for people under ``text``."""
        return dataclasses.asdict(self) | {"text": self.describe()}

    def describe(self) -> str:
        """Return what people should know before they train a model."""
        rows = f"The holdout has {self.rows:,} gate rows, and {self.positives:,} of them have label 1."
        needed = self._describe_target()
        if self.detectable is None:
            return f"{rows} The gate cannot decide, because it needs {MIN_PER_CLASS} gate rows of each class. {needed}"
        basis = (
            "This uses the standard error between the stored scores of two releases."
            if self.measured
            else f"This assumes models with an AUC of {ASSUMED_AUC} whose scores have a correlation of {ASSUMED_CORRELATION}."
        )
        return (
            f"{rows} The gate promotes a challenger that is truly better by {self.detectable:.4f} with a probability of "
            f"{POWER:g}; a smaller improvement is missed more often. {needed} {basis}"
        )

    def _describe_target(self) -> str:
        if self.rows_without_margin is None:
            return "A class has no gate row, so nothing can be said about the rows that it needs."
        if self.rows_for_target is not None:
            return f"For a difference of {self.target:g} it would need about {self.rows_for_target:,} gate rows."
        return (
            f"With gate.margin {self.margin:g}, a challenger that is truly better by {self.target:g} is promoted at most every "
            f"second time, however many rows there are; with gate.margin 0, about {self.rows_without_margin:,} gate rows would "
            "be enough."
        )


def plan_power(
    rows: int, positives: int, rule: GateRule, *, standard_error: float | None = None, target: float = TARGET
) -> GatePower:
    """Return what the gate can see with a holdout.

    Args:
        rows: The number of gate rows.
        positives: The number of gate rows with label 1.
        rule: The gate's margin, alpha and budget.
        standard_error: The measured standard error of the difference of two releases' AUCs on these rows. None to predict it.
        target: The difference of AUCs for which the needed rows are stated.
    """
    tail = rule.alpha / rule.budget
    classes = positives, rows - positives
    if min(classes) == 0:
        error, degrees = math.nan, math.inf
    else:
        error, degrees = predict_difference_error(ASSUMED_AUC, ASSUMED_CORRELATION, positives=classes[0], negatives=classes[1])
        error = error if standard_error is None else standard_error
    enough = min(classes) >= MIN_PER_CLASS
    reach, power = quantile(1 - tail, degrees), float(ndtri(POWER))
    # The point estimate must exceed the margin, and the bound must exceed 0. Each of the two needs its own standard error.
    for_bound, for_margin = target / (float(ndtri(1 - tail)) + power), (target - rule.margin) / power

    def count_rows(wanted: float) -> int | None:
        return None if math.isnan(error) or wanted <= 0 else math.ceil(rows * (error / wanted) ** 2)

    return GatePower(
        rows=rows,
        positives=positives,
        level=1 - tail,
        margin=rule.margin,
        standard_error=error if enough else None,
        measured=standard_error is not None,
        detectable=max(rule.margin, reach * error) + power * error if enough else None,
        target=target,
        rows_for_target=count_rows(min(for_bound, for_margin)),
        rows_without_margin=count_rows(for_bound),
    )
