"""Why a question may not be asked: what the ledger knows does not fit the present champion or settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.gate.budgets import find_related, part_questions

if TYPE_CHECKING:
    from sluice.data.row_sets import RowSet
    from sluice.gate.ledger_documents import GateRule, LedgerDocument


def check_question(document: LedgerDocument, row_set: RowSet, *, champion: str | None, holdout: str, rule: GateRule) -> None:
    """Check that a question may be asked, whoever is the challenger.

    Args:
        document: The ledger.
        row_set: The row set of the present holdout.
        champion: The digest of the present champion; None if the rollout journal names none.
        holdout: The digest of the present holdout's bytes.
        rule: The gate's numbers now.

    Raises:
        StateError: The ledger knows a champion and there is none, or the same file had other rows or labels before, or earlier
            questions about these rows used another alpha, budget or gate_fraction.
    """
    check_champion(document, champion)
    check_same_rows(document, row_set, holdout=holdout)
    check_same_rule(document, row_set, holdout=holdout, rule=rule)


def check_champion(document: LedgerDocument, champion: str | None) -> None:
    """Check that a champion that the ledger knows was not lost. Without a champion, the gate would let every model pass.

    Raises:
        StateError: Models were compared with a champion, and now there is none.
    """
    known = document.find_champion()
    if champion is None and known is not None:
        raise StateError(
            f"the gate's ledger knows the champion {known[:19]}, but the rollout journal names none, so the journal was deleted "
            "or replaced",
            hint="Restore the rollout journal from a backup. If it is lost, `sluice gate confirm-loss --why …` records that, and "
            "then the next model passes the gate as the first champion.",
        )


def check_same_rows(document: LedgerDocument, row_set: RowSet, *, holdout: str) -> None:
    """Check that the loader reads the same ids and labels from the same bytes as before.

    Raises:
        StateError: It does not, and no person has confirmed that this is on purpose.
    """
    known = {digest for file, digest in document.files() if file == holdout}
    if not known or row_set.digest in known:
        return
    before = next(one for one in document.row_sets() if one.digest in known)
    raise StateError(
        f"the project's loader reads other rows or labels from the same holdout file than before: {row_set.rows:,} rows, of "
        f"which {row_set.positives:,} have label 1, and before {before.rows:,} and {before.positives:,}",
        hint="Restore the loader (data.load) and data.label and data.id in sluice.toml. If the change is deliberate, "
        "`sluice gate accept-rows --why …` records that. The questions so far still count.",
    )


def check_same_rule(document: LedgerDocument, row_set: RowSet, *, holdout: str, rule: GateRule) -> None:
    """Check that the rule is the one by which these rows were asked before. The margin may change.

    Raises:
        StateError: Earlier questions about these rows used another alpha, budget or gate_fraction.
    """
    own, _ = part_questions(document, find_related(document, row_set, holdout=holdout), holdout)
    for record in own:
        first = record.question.rule
        if first is None:
            continue
        asked = f"gate.alpha {first.alpha:g} and gate.budget {first.budget}"
        if (first.alpha, first.budget) != (rule.alpha, rule.budget):
            raise StateError(
                f"this holdout was first asked with {asked}, but now they are {rule.alpha:g} and {rule.budget}",
                hint="Restore both settings in sluice.toml, or replace the holdout by fresh rows. Both numbers must be the same "
                "for all questions about the same rows.",
            )
        if None not in {first.gate_fraction, rule.gate_fraction} and first.gate_fraction != rule.gate_fraction:
            raise StateError(
                f"this holdout was first asked with data.gate_fraction {first.gate_fraction:g}, but now it is "
                f"{rule.gate_fraction:g}",
                hint="Restore data.gate_fraction in sluice.toml, or replace the holdout by fresh rows. With another fraction, "
                "rows that the model tests show would become gate rows, or gate rows would be shown.",
            )
