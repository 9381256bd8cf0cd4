"""Ask the gate a question: count it in the ledger, answer it once, and store the answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sluice.data.row_scores import digest_rows, hash_ids
from sluice.errors import DataError, StateError
from sluice.gate.decision import (
    MIN_PER_CLASS,
    GateDecision,
    check_settings,
    decide_promotion,
    refuse_few,
    refuse_spent,
)
from sluice.gate.ledger_documents import Question
from sluice.statistics.samples import count_smaller_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.data.holdout import Holdout
    from sluice.data.row_scores import RowScores
    from sluice.gate.budgets import AskedQuestion
    from sluice.gate.ledger import Ledger
    from sluice.gate.ledger_documents import GateRule


def ask_gate(
    ledger: Ledger,
    holdout: Holdout,
    *,
    challenger: tuple[str, RowScores],
    champion: tuple[str, RowScores] | None,
    rule: GateRule,
    heads: Iterable[str] = (),
) -> GateDecision:
    """Record the question, then decide it. If it was answered before, return the stored answer and count nothing.

    A question that the gate cannot judge, because the budget is spent or because a class has too few gate rows, is not counted.

    Args:
        ledger: The ledger that counts the question.
        holdout: The holdout, whose gate rows judge.
        challenger: The digest of the challenger's model, and its scores on the gate rows.
        champion: The same for the champion, named by its release. None if there is no champion.
        rule: The gate's margin, alpha, budget and gate_fraction.
        heads: Links that the ledger must contain, as the champion's manifest and the rollout journal name them.

    Returns:
        The decision that others may see: without numbers, unless it promotes the challenger.

    Raises:
        ConfigurationError: A number of `rule` is out of its range.
        DataError: A gate row has no score, or all gate rows have the same label.
        StateError: The ledger or a stored decision is unreadable, the ledger lacks one of `heads`, or earlier questions about
            these rows used another alpha, budget or gate_fraction.
    """
    check_settings(rule.margin, rule.alpha, rule.budget)
    labels, ids = holdout.rows.labels[holdout.is_gate], hash_ids(holdout.rows.ids[holdout.is_gate])
    # Whatever is unusable is found before anything is counted.
    if count_smaller_class(labels) == 0:
        raise DataError(
            f"all {len(labels):,} gate rows have the same label, so no AUC can be computed",
            hint="Use a holdout with rows of both classes.",
        )
    second = challenger[1].select(ids)
    first = champion[1].select(ids) if champion else None
    if champion is not None and count_smaller_class(labels) < MIN_PER_CLASS:
        ledger.check_heads(heads)
        budget = ledger.measure(holdout.row_set, holdout=holdout.digest, rule=rule)
        return dataclasses.replace(refuse_few(labels, used=budget.used, budget=rule.budget), left=budget.left)
    question = Question(
        challenger=challenger[0],
        champion=champion[0] if champion else None,
        rule=rule,
        row_set=holdout.row_set.digest,
        gate_rows=digest_rows(ids),
        scores=second.digest,
        champion_scores=first.digest if first else "",
    )
    asked = ledger.ask(question, holdout.row_set, holdout=holdout.digest, rule=rule, heads=heads)
    if not asked.link:
        use = asked.budget
        return dataclasses.replace(refuse_spent(len(labels), used=use.used, budget=rule.budget, advice=use.advice), left=0)
    if asked.answer is not None:
        return dataclasses.replace(_read_stored(asked.answer, asked), left=asked.budget.left)
    decided = decide_promotion(
        labels,
        champion=first.align(ids) if first else None,
        challenger=second.align(ids),
        margin=rule.margin,
        alpha=rule.alpha,
        budget=rule.budget,
        uses=asked.uses,
    )
    decision = dataclasses.replace(decided, left=asked.budget.left, ledger_head=asked.link)
    ledger.save_answer(asked.link, decision.to_public_dict())
    return decision.to_public()


def _read_stored(values: Mapping[str, Any], asked: AskedQuestion) -> GateDecision:
    try:
        return GateDecision.from_public_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"the stored decision on question {asked.uses} is damaged: {error}",
            hint="Restore the gate's ledger from a backup, or replace the holdout.",
        ) from error
