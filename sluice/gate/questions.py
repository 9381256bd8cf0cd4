"""Ask the gate a question: count it in the ledger, answer it once, and store the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.errors import StateError
from sluice.gate.decision import GateDecision, decide_promotion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from sluice.gate.ledger import Ledger
    from sluice.gate.ledger_documents import GateRule, LedgerEntry


def ask_gate(
    ledger: Ledger,
    labels: ArrayLike,
    *,
    holdout: str,
    challenger: tuple[str, ArrayLike],
    champion: tuple[str, ArrayLike] | None,
    rule: GateRule,
) -> GateDecision:
    """Record the question, then decide it. If it was answered before, return the stored answer and count nothing.

    Args:
        ledger: The ledger that counts the question.
        labels: The labels of the gate rows, shape (rows,), 0 or 1.
        holdout: The digest of the holdout.
        challenger: The challenger's digest and its probabilities on the gate rows.
        champion: The same for the champion. None if there is no champion.
        rule: The gate's margin, alpha and budget.

    Returns:
        The decision that others may see: without numbers, unless it promotes the challenger.

    Raises:
        ConfigurationError: A number of `rule` is out of its range.
        DataError: Labels and scores do not fit together. The question is counted nevertheless.
        StateError: The ledger or a stored decision is unreadable, or earlier questions used another alpha or budget.
    """
    entry = ledger.record(holdout, challenger=challenger[0], champion=champion[0] if champion else None, rule=rule)
    if entry.decision is not None:
        return _read_stored(entry.decision, entry)
    decision = decide_promotion(
        labels,
        champion=champion[1] if champion else None,
        challenger=challenger[1],
        margin=rule.margin,
        alpha=rule.alpha,
        budget=rule.budget,
        uses=entry.uses,
    )
    ledger.save_decision(entry, decision.to_public_dict())
    return decision.to_public()


def _read_stored(values: Mapping[str, Any], entry: LedgerEntry) -> GateDecision:
    try:
        return GateDecision.from_public_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"the stored decision on question {entry.uses} to holdout {entry.holdout} is damaged: {error}",
            hint="Restore the gate's ledger from a backup, or replace the holdout.",
        ) from error
