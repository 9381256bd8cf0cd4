"""The gate's decision, as a pure function of labels and scores.

The gate promotes a challenger if two conditions hold. Its AUC on the gate rows exceeds the champion's by more than the margin,
and the one-sided paired DeLong lower bound of the difference is above zero. The error rate of the bound is alpha divided by the
holdout's budget of questions (Bonferroni). So over all questions together, for example one a week for a year, the probability of
promoting a model that is not better is at most alpha.

Exact scores would let people overfit the holdout by asking repeatedly (Blum & Hardt, arXiv 1502.04585). Therefore the gate shows
numbers only after a promotion. Otherwise it answers only "no".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sluice.errors import ConfigurationError, DataError
from sluice.statistics.auc import AucDifference, compare_auc
from sluice.statistics.samples import count_smaller_class
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

CHECK = "gate"
"""The name of the gate's verdict."""

MIN_PER_CLASS = 30
"""The smallest number of positive gate rows, and of negative ones, with which a difference of AUCs is judged.

With fewer, the normal approximation of the bound promotes more than alpha in a year (tests/sluice/gate/test_gate_years.py)."""

MIN_TAIL = 1e-12
"""The smallest allowed probability of a false promotion per question. Below it, the bound's normal approximation is useless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """The gate's answer to one question.

    Attributes:
        promote: Whether the challenger replaces the champion.
        verdict: The same answer for people: pass if the challenger is promoted, fail if the champion stays, inconclusive if the
            gate could not judge. It has numbers only after a promotion.
        first: Whether there was no champion to compare with.
        unproven: Whether the challenger was promoted without a comparison.
        difference: The challenger's AUC minus the champion's. None if they were not compared. Secret unless promoted.
        lower_bound: The one-sided lower bound of the difference at `level`. Secret unless promoted.
        level: The confidence of the bound, 1 - alpha / budget. None if they were not compared.
        uses: The number of questions that count against the holdout's budget, with this one. A question that the gate could not
            judge is not counted.
        budget: The number of questions that alpha is divided by.
        left: The number of questions that can still be asked about this holdout. None in answers of earlier versions.
        ledger_head: The link of this question in the ledger. It proves later that the ledger is still the same. Empty if the
            question was not recorded, and in answers of earlier versions.
    """

    promote: bool
    verdict: Verdict
    first: bool
    unproven: bool
    difference: float | None = field(repr=False)  # a log line must not show what the gate keeps secret
    lower_bound: float | None = field(repr=False)
    level: float | None
    uses: int
    budget: int
    left: int | None = None
    ledger_head: str = ""

    @property
    def undecided(self) -> bool:
        """Whether the gate could not judge the challenger."""
        return self.verdict.outcome is Outcome.INCONCLUSIVE

    def to_public(self) -> Self:
        """Return the decision that others may see: without numbers, unless it promotes the challenger."""
        return self if self.promote else dataclasses.replace(self, difference=None, lower_bound=None)

    def to_public_dict(self) -> dict[str, Any]:
        """Return the decision that others may see, as plain JSON types. `from_public_dict` reads it back."""
        shown = self.to_public()
        names = ("promote", "first", "unproven", "difference", "lower_bound", "level", "uses", "budget", "left", "ledger_head")
        return {name: getattr(shown, name) for name in names} | {"verdict": shown.verdict.to_dict()}

    @classmethod
    def from_public_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_public_dict` returned.

        Raises:
            KeyError: The verdict or one of its required fields is missing.
            TypeError: Another field is missing or unknown.
            ValueError: The verdict's outcome is not one of the three.
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
        labels: The labels of the gate rows, shape (rows,), 0 or 1.
        champion: The champion's probabilities for these rows, shape (rows,). None if there is no champion.
        challenger: The challenger's probabilities, shape (rows,).
        margin: The challenger's AUC must exceed the champion's by more than this.
        alpha: The probability of one false promotion over the whole budget, in (0, 1).
        budget: The number of questions that one holdout may be asked, at least 1.
        uses: The number of this question to this holdout, from 1.

    Returns:
        Without a champion, the challenger is promoted, and the decision is marked as unproven. If the budget is spent or a class
        has fewer than 30 rows, the challenger is not promoted, and the verdict is inconclusive. Otherwise it is promoted if and
        only if difference > margin and the lower bound at 1 - alpha / budget is > 0.

    Raises:
        ConfigurationError: The margin, alpha or budget is out of its range.
        DataError: Labels and scores do not fit together, or contain NaN.
        ValueError: `uses` is below 1.
    """
    check_settings(margin, alpha, budget)
    if uses < 1:
        raise ValueError(f"uses includes this question, so it must be at least 1, not {uses}")
    truths = np.asarray(labels)
    compared = _compare(truths, challenger if champion is None else champion, challenger, alpha / budget)
    if champion is None:
        return _promote_first(truths.size, uses, budget)
    if uses > budget:
        return refuse_spent(truths.size, used=uses, budget=budget)
    if count_smaller_class(truths) < MIN_PER_CLASS:
        return refuse_few(truths, used=uses, budget=budget)
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
            detail=f"the champion stays: the challenger is not shown to be better by more than {margin:g} "
            f"at {1 - tail:.2%} confidence",
        ),
        first=False,
        unproven=False,
        difference=compared.difference,
        lower_bound=bound,
        level=1 - tail,
        uses=uses,
        budget=budget,
    )
    return _with_numbers(decision, compared, bound, tail) if promote else decision


def _with_numbers(decision: GateDecision, compared: AucDifference, bound: float, tail: float) -> GateDecision:
    """Add the numbers of the comparison to the verdict of a promotion."""
    detail = (
        f"the challenger's AUC is {compared.auc_b:.4f} and the champion's is {compared.auc_a:.4f}: it is better by "
        f"{compared.difference:.4f}, and by at least {bound:.4f} at {1 - tail:.2%} confidence"
    )
    verdict = dataclasses.replace(decision.verdict, observed=compared.difference, interval=compared.interval, detail=detail)
    return dataclasses.replace(decision, verdict=verdict)


def _promote_first(rows: int, uses: int, budget: int) -> GateDecision:
    detail = "this is the first champion: there was no other to compare with, so nothing is proven"
    verdict = Verdict(check=CHECK, outcome=Outcome.PASS, rows=rows, unproven=True, detail=detail)
    return _without_numbers(verdict, first=True, uses=uses, budget=budget)


def refuse_spent(rows: int, *, used: int, budget: int, advice: str = "") -> GateDecision:
    """Return the answer of a gate whose budget is spent: it cannot judge another challenger.

    Args:
        rows: The number of gate rows.
        used: The number of questions that count.
        budget: The number of questions that are allowed.
        advice: What gives the gate more questions.
    """
    detail = f"the gate cannot decide, because the holdout's budget of {budget} questions is spent. {advice}".strip().rstrip(".")
    verdict = Verdict(check=CHECK, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=detail)
    return _without_numbers(verdict, first=False, uses=used, budget=budget)


def refuse_few(labels: ArrayLike, *, used: int, budget: int) -> GateDecision:
    """Return the answer of a gate that has too few rows of a class to judge a challenger."""
    fewest, rows = count_smaller_class(labels), int(np.asarray(labels).size)
    detail = (
        f"the gate cannot decide, because the smaller class has {fewest} gate rows and the gate needs {MIN_PER_CLASS}: use a "
        "larger holdout (`sluice gate power` says how large)"
    )
    verdict = Verdict(check=CHECK, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=detail)
    return _without_numbers(verdict, first=False, uses=used, budget=budget)


def _without_numbers(verdict: Verdict, *, first: bool, uses: int, budget: int) -> GateDecision:
    """Return a decision without a comparison: a first champion is promoted, any other challenger is not."""
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
            f"the gate cannot compare the models on these gate rows: {error}",
            hint="Check that champion and challenger give one probability per gate row, and that the rows contain both classes.",
        ) from error


def check_settings(margin: float, alpha: float, budget: int) -> None:
    """Check the gate's numbers.

    Raises:
        ConfigurationError: One of them is out of its range.
    """
    if not 0 <= margin < 1:
        raise ConfigurationError(
            f"gate.margin is {margin}, but it must be in [0, 1)", hint="Set a difference of AUCs, for example 0.005."
        )
    if budget < 1:
        raise ConfigurationError(
            f"gate.budget is {budget}, but it must be at least 1",
            hint="Set the number of questions that one holdout may be asked, for example 52.",
        )
    if not MIN_TAIL <= alpha / budget < 0.5:  # noqa: PLR2004 - at 0.5 or more the lower bound is above the estimate
        raise ConfigurationError(
            f"gate.alpha / gate.budget is {alpha / budget:g}, but it must be at least {MIN_TAIL:g} and below 0.5",
            hint="Set gate.alpha to the probability of one false promotion over the whole budget, for example 0.05.",
        )
