"""The gate's decision: pure, one bit out.

A challenger is promoted when its AUC on the gate rows exceeds the champion's by more than the margin and a one-sided paired
DeLong bound of the difference lies above zero. The bound's error rate is alpha split over the holdout's budget of questions
(Bonferroni), so that a whole year of weekly questions has a chance of at most alpha to promote a model that is no better.
Whoever sees exact scores can climb the holdout (Blum & Hardt, arXiv 1502.04585): unless it promotes, the gate shows nothing
that depends on the scores but its "no".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sluice.errors import ConfigurationError, DataError
from sluice.statistics.auc import AucDifference, compare_auc
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

CHECK = "gate"
"""Name of the gate's verdict."""

LEAST_PER_CLASS = 10
"""Positives, and negatives, below which a difference of AUCs is not judged."""

LEAST_TAIL = 1e-12
"""Chance of a false promotion per question below which the normal approximation of the bound means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """The gate's answer to one question.

    Attributes:
        promote: The one bit.
        verdict: The same for people: pass when promoted, fail when the champion stays, inconclusive when the gate could not
            judge. Its numbers are there only after a promotion.
        first: There was no champion to compare with.
        unproven: Promoted without a comparison.
        difference: Challenger's AUC minus champion's; None where they were not compared. Not to be shown unless promoted.
        lower_bound: One-sided lower bound of it at `level`; not to be shown unless promoted.
        level: Confidence of the bound, 1 - alpha / budget; None where they were not compared.
        uses: Which question to this holdout it was, from 1.
        budget: How many questions alpha is split over.
    """

    promote: bool
    verdict: Verdict
    first: bool
    unproven: bool
    difference: float | None = field(repr=False)  # a log line must not tell what the gate keeps to itself
    lower_bound: float | None = field(repr=False)
    level: float | None
    uses: int
    budget: int

    def one_bit(self) -> Self:
        """The decision as it may leave the gate: without numbers unless it promotes."""
        return self if self.promote else dataclasses.replace(self, difference=None, lower_bound=None)

    def to_public_dict(self) -> dict[str, Any]:
        """What may leave the gate, as plain JSON types; `from_public_dict` reads it back."""
        shown = self.one_bit()
        names = ("promote", "first", "unproven", "difference", "lower_bound", "level", "uses", "budget")
        return {name: getattr(shown, name) for name in names} | {"verdict": shown.verdict.to_dict()}

    @classmethod
    def from_public_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_public_dict` wrote.

        Raises:
            KeyError: The verdict or one of its required fields is missing.
            TypeError: Another field is missing or unknown.
            ValueError: The verdict's outcome is none of the three.
        """
        return cls(**{**values, "verdict": Verdict.from_dict(values["verdict"])})


def decide_promotion(
    labels: ArrayLike,
    *,
    champion: ArrayLike | None,
    challenger: ArrayLike,
    margin: float,
    alpha: float,
    budget: int,
    uses: int,
) -> GateDecision:
    """Decide whether the challenger replaces the champion.

    Args:
        labels: Of the gate rows, shape (rows,), 0 or 1.
        champion: Its probabilities for these rows, shape (rows,); None where there is no champion.
        challenger: Its probabilities, shape (rows,).
        margin: The challenger's AUC must exceed the champion's by more than this.
        alpha: Chance of one false promotion over the whole budget, in (0, 1).
        budget: Questions that one holdout may be asked, at least 1.
        uses: Which question to this holdout this is, from 1.

    Returns:
        Promoted and unproven without a champion; refused, inconclusive, when the budget is spent or a class has fewer than
        ten rows; else promoted if and only if difference > margin and the lower bound at 1 - alpha / budget > 0.

    Raises:
        ConfigurationError: The margin, alpha or budget is not one.
        DataError: Labels or scores do not fit together, or are NaN.
        ValueError: `uses` is below 1.
    """
    _check_settings(margin, alpha, budget)
    if uses < 1:
        raise ValueError(f"uses counts this question too, so it is at least 1, not {uses}")
    truths = np.asarray(labels)
    compared = _compare(truths, challenger if champion is None else champion, challenger, alpha / budget)
    if champion is None:
        return _promote_first(truths.size, uses, budget)
    if uses > budget:
        return _refuse_spent(truths.size, uses, budget)
    fewest = min(int(np.count_nonzero(truths == 1)), int(np.count_nonzero(truths == 0)))
    if fewest < LEAST_PER_CLASS:
        return _refuse_few(fewest, truths.size, uses, budget)
    return _judge(compared, truths.size, margin, alpha / budget, uses, budget)


def _judge(compared: AucDifference, rows: int, margin: float, tail: float, uses: int, budget: int) -> GateDecision:
    bound = compared.lower_bound(tail)
    promote = compared.difference > margin and bound > 0
    decision = GateDecision(
        promote=promote,
        verdict=Verdict(
            check=CHECK,
            outcome=Outcome.PASS if promote else Outcome.FAIL,
            threshold=margin,
            comparison=">",
            rows=rows,
            detail=f"the champion stays: not shown to be better by more than {margin:g} at {1 - tail:.2%} confidence",
        ),
        first=False,
        unproven=False,
        difference=compared.difference,
        lower_bound=bound,
        level=1 - tail,
        uses=uses,
        budget=budget,
    )
    return _show(decision, compared, bound, tail) if promote else decision


def _show(decision: GateDecision, compared: AucDifference, bound: float, tail: float) -> GateDecision:
    """A promotion with its numbers."""
    detail = (
        f"AUC {compared.auc_b:.4f} against the champion's {compared.auc_a:.4f}: better by {compared.difference:.4f}, "
        f"by at least {bound:.4f} at {1 - tail:.2%} confidence"
    )
    verdict = dataclasses.replace(decision.verdict, observed=compared.difference, interval=compared.interval, detail=detail)
    return dataclasses.replace(decision, verdict=verdict)


def _promote_first(rows: int, uses: int, budget: int) -> GateDecision:
    detail = "the first champion: there was none to compare with, so nothing is proven"
    verdict = Verdict(check=CHECK, outcome=Outcome.PASS, rows=rows, unproven=True, detail=detail)
    return _without_numbers(verdict, first=True, uses=uses, budget=budget)


def _refuse_spent(rows: int, uses: int, budget: int) -> GateDecision:
    detail = f"the holdout's budget of {budget} questions is spent: it must be rotated before another challenger can be judged"
    verdict = Verdict(check=CHECK, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=detail)
    return _without_numbers(verdict, first=False, uses=uses, budget=budget)


def _refuse_few(fewest: int, rows: int, uses: int, budget: int) -> GateDecision:
    detail = f"a class has {fewest} gate rows, fewer than {LEAST_PER_CLASS}: a larger holdout is needed to judge a challenger"
    verdict = Verdict(check=CHECK, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=detail)
    return _without_numbers(verdict, first=False, uses=uses, budget=budget)


def _without_numbers(verdict: Verdict, *, first: bool, uses: int, budget: int) -> GateDecision:
    """A decision that no comparison was made for: a first champion is promoted, everyone else refused."""
    return GateDecision(
        promote=first,
        verdict=verdict,
        first=first,
        unproven=first,
        difference=None,
        lower_bound=None,
        level=None,
        uses=uses,
        budget=budget,
    )


def _compare(labels: ArrayLike, champion: ArrayLike, challenger: ArrayLike, tail: float) -> AucDifference:
    try:
        return compare_auc(labels, champion, challenger, level=1 - 2 * tail)
    except ValueError as error:
        raise DataError(
            f"the gate cannot compare on these gate rows: {error}",
            hint="Check that champion and challenger give one probability per gate row, and that both classes are among them.",
        ) from error


def _check_settings(margin: float, alpha: float, budget: int) -> None:
    if not 0 <= margin < 1:
        raise ConfigurationError(f"gate.margin is {margin}", hint="Choose a difference of AUCs in [0, 1), for example 0.005.")
    if budget < 1:
        raise ConfigurationError(f"gate.budget is {budget}", hint="Choose how often one holdout may be asked, for example 52.")
    if not LEAST_TAIL <= alpha / budget < 0.5:  # noqa: PLR2004 - from there on the bound lies above the estimate
        raise ConfigurationError(
            f"gate.alpha / gate.budget is {alpha / budget:g}",
            hint=f"Choose a chance so that one question gets from {LEAST_TAIL:g} to below 0.5, for example 0.05.",
        )
