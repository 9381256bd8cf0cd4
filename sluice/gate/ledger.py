"""The ledger: it records every question to the gate before the answer is computed, and what people decided about the gate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from sluice.data.row_sets import estimate_overlap
from sluice.errors import StateError
from sluice.gate.budgets import SHARED_ROWS, AskedQuestion, BudgetUse, measure_budget, plan_question
from sluice.gate.earlier_ledgers import take_over
from sluice.gate.ledger_documents import (
    AcceptedRowsRecord,
    ChampionLossRecord,
    LedgerDocument,
    LossRecord,
    OverrideRecord,
    RotationRecord,
    append,
    record_answer,
    record_row_set,
)
from sluice.gate.refusals import check_question
from sluice.gate.stores.folders import FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sluice.data.row_sets import RowSet
    from sluice.gate.ledger_documents import GateRule, Question
    from sluice.gate.stores.head_files import HeadFile
    from sluice.gate.stores.protocol import LedgerStore, Stored

Result = TypeVar("Result")


class Ledger:
    """The ledger of one project. Any number of processes may use it at once.

    Each method raises StateError if the ledger is damaged, was deleted or shortened, or cannot be read or written. The count
    never starts again from zero.

    Attributes:
        store: Where the ledger is stored.
        head_file: Where its head is stored a second time; None if nowhere.
    """

    def __init__(self, store: LedgerStore | Path, *, head_file: HeadFile | None = None) -> None:
        """Set the places. Nothing is read or written yet.

        Args:
            store: Where the ledger is stored. A path is a folder on this machine.
            head_file: Where to store its head a second time, so that an older copy of the ledger is noticed.
        """
        self.store: LedgerStore = FolderStore(store) if isinstance(store, Path) else store
        self.head_file = head_file

    def read(self) -> LedgerDocument:
        """Return the whole ledger. It is empty if nothing was ever recorded."""
        _, document = self._load()
        return document

    @property
    def lacks_head(self) -> bool:
        """Whether the second copy of the head is missing, so that an older copy of the ledger could not be told from it."""
        return self.head_file is not None and not self.head_file.read() and bool(self.read().records)

    def ask(
        self,
        question: Question,
        row_set: RowSet,
        *,
        holdout: str,
        rule: GateRule,
        heads: Iterable[str] = (),
        at: float | None = None,
    ) -> AskedQuestion:
        """Count a question. Call this before the answer is computed, so that every answer is counted.

        Args:
            question: The question.
            row_set: The row set of the holdout.
            holdout: The digest of the holdout's bytes.
            rule: The gate's numbers. Another margin makes another question. Another alpha, budget or gate_fraction is an error.
            heads: Links that the ledger must contain, as the champion's manifest and the rollout journal name them.
            at: The time in seconds since the epoch. The default is now.

        Raises:
            StateError: The ledger does not contain one of `heads`, or `check_question` in `sluice.gate.refusals` refuses.
        """
        now = time.time() if at is None else at
        expected = tuple(heads)

        def change(document: LedgerDocument) -> tuple[LedgerDocument, AskedQuestion]:
            self._check_heads(document, expected)
            check_question(document, row_set, champion=question.champion, holdout=holdout, rule=rule)
            return plan_question(document, question, row_set, holdout=holdout, rule=rule, now=now)

        return self._change(change)

    def save_answer(self, link: str, decision: dict[str, Any]) -> None:
        """Store the public answer to a recorded question. A later answer does not replace it.

        Args:
            link: The link of the question, from `ask`.
            decision: The decision as JSON types, from `GateDecision.to_public_dict`.

        Raises:
            StateError: There is no such question.
        """
        self._change(lambda document: (record_answer(document, link, decision, now=time.time()), None))

    def measure(self, row_set: RowSet, *, holdout: str, rule: GateRule, at: float | None = None) -> BudgetUse:
        """Return how much of the budget of a row set is used."""
        return measure_budget(self.read(), row_set, holdout=holdout, rule=rule, now=time.time() if at is None else at)

    def rotate(self, old: RowSet, new: RowSet, *, by: str, why: str, at: float) -> None:
        """Record that a person replaced the holdout by fresh rows.

        Questions about the old rows count against the new budget until they are a year old. So the gate's promise holds for every
        year, whatever holdouts it was asked about.

        Args:
            old: The row set of the holdout so far.
            new: The row set of the new holdout.
            by: The person.
            why: The reason.
            at: The time in seconds since the epoch.

        Raises:
            StateError: The new holdout shares rows with one that the ledger knows. Then it continues that budget.
        """

        def change(document: LedgerDocument) -> tuple[LedgerDocument, None]:
            shared = max((estimate_overlap(new, known) for known in (old, *document.row_sets())), default=0.0)
            if shared > SHARED_ROWS:
                raise StateError(
                    f"the new holdout shares about {shared:.0%} of its rows with an earlier one, so it is not a fresh holdout",
                    hint="Make the new holdout from rows that no holdout has contained. `sluice holdout new` does that.",
                )
            return append(document, RotationRecord(at=at, old=old.digest, new=new.digest, by=by, why=why)), None

        self._change(change)

    def override(self, model: str, scores: str, *, by: str, why: str, until: float, at: float) -> None:
        """Record that a person lets a model pass the gate until a certain time, whatever the gate answers.

        Args:
            model: The digest of the model, as the gate names the challenger.
            scores: The digest of its scores. The override holds for these scores only.
            by: The person.
            why: The reason.
            until: When the override expires, in seconds since the epoch.
            at: The time in seconds since the epoch.
        """
        record = OverrideRecord(at=at, model=model, scores=scores, by=by, why=why, until=until)
        self._change(lambda document: (append(document, record), None))

    def confirm_loss(
        self, row_set: RowSet, heads: Iterable[str], *, champion: str | None, holdout: str, by: str, why: str, at: float
    ) -> tuple[str, ...]:
        """Record that a person knows what is lost: earlier records, the champion, or both.

        If records are lost, these rows answer no more questions. If the champion is lost, the next model is the first champion.

        Args:
            row_set: The row set of the holdout in use.
            heads: Links that the ledger must contain, as for `ask`.
            champion: The digest of the present champion; None if the rollout journal names none.
            holdout: The digest of the holdout's bytes.
            by: The person.
            why: What happened.
            at: The time in seconds since the epoch.

        Returns:
            The kinds of the new records: ``loss``, ``champion-loss``, or both.

        Raises:
            StateError: Nothing is lost.
        """
        expected = tuple(heads)
        while True:
            seen = self.head_file.read() if self.head_file else ""
            stored = self.store.read()
            left, intact = self._parse_lost(stored)
            named = dict.fromkeys((*expected, stored.written_head, seen))
            missing = tuple(link for link in named if link and not left.contains(link))
            lost = None if champion else left.find_champion()
            records: list[LossRecord | ChampionLossRecord] = []
            if missing or not intact:
                left = record_row_set(left, row_set, holdout=holdout, now=at)
                records.append(LossRecord(at=at, row_set=row_set.digest, links=missing, by=by, why=why))
            if lost:
                records.append(ChampionLossRecord(at=at, champion=lost, by=by, why=why))
            if not records:
                raise StateError(
                    "the ledger is complete, and it knows no champion that is lost, so nothing is lost",
                    hint="`sluice gate status` shows the ledger.",
                )
            after = append(left, *records)
            if self._replace(stored, after):
                return tuple(record.kind for record in records)

    def accept_rows(self, row_set: RowSet, *, holdout: str, by: str, why: str, at: float) -> None:
        """Record that the loader reads other rows or labels from the same file on purpose. The questions so far still count.

        Args:
            row_set: The row set that the loader reads now.
            holdout: The digest of the file's bytes.
            by: The person.
            why: The reason.
            at: The time in seconds since the epoch.

        Raises:
            StateError: The loader reads what it has read before, so there is nothing to accept.
        """

        def change(document: LedgerDocument) -> tuple[LedgerDocument, None]:
            known = {digest for file, digest in document.files() if file == holdout}
            if not known or row_set.digest in known:
                raise StateError(
                    "the ledger knows no other rows or labels of this holdout file, so there is nothing to accept",
                    hint="`sluice gate status` shows the ledger.",
                )
            after = record_row_set(document, row_set, holdout=holdout, now=at)
            return append(after, AcceptedRowsRecord(at=at, row_set=row_set.digest, by=by, why=why)), None

        self._change(change)

    def check_heads(self, heads: Iterable[str]) -> None:
        """Check that the ledger contains these links.

        Raises:
            StateError: It does not contain one of them, so it was deleted, shortened or replaced.
        """
        self._check_heads(self.read(), heads)

    def _check_heads(self, document: LedgerDocument, heads: Iterable[str]) -> None:
        missing = [link for link in heads if link and not document.contains(link)]
        if missing:
            raise StateError(
                f"the gate's ledger {self.store.place} was deleted, shortened or replaced: it has {len(document.questions())} "
                f"questions, and not the question {missing[0][:19]} by which the champion was promoted",
                hint="Restore the ledger from a backup. If it is lost, `sluice gate confirm-loss --why …` records that, and then "
                "the gate needs a new holdout of fresh rows.",
            )

    def _change(self, change: Callable[[LedgerDocument], tuple[LedgerDocument, Result]]) -> Result:
        """Read, change and replace the ledger; if another process changed it meanwhile, do so again."""
        while True:
            stored, before = self._load()
            after, result = change(before)
            if after is before or self._replace(stored, after):
                return result

    def _load(self) -> tuple[Stored, LedgerDocument]:
        """Read the ledger. Its head is read first, because it is written last and so is never ahead."""
        seen = self.head_file.read() if self.head_file else ""
        stored = self.store.read()
        document = self._parse(stored)
        if self.head_file and seen and not document.contains(seen):
            what = f"it was deleted, shortened or replaced by an older copy: {self.head_file.file} names the record {seen[:19]}"
            raise self._untrusted(f"{what}, and the ledger does not contain it")
        return stored, document

    def _replace(self, before: Stored, after: LedgerDocument) -> bool:
        replaced = self.store.replace(before, _dump(after), after.head)
        if replaced and self.head_file:
            self.head_file.write(after.head)
        return replaced

    def _parse(self, stored: Stored) -> LedgerDocument:
        document = self._parse_text(stored)
        if stored.written_head and not any(record.link == stored.written_head for record in document.records):
            missing = stored.text is None
            raise self._untrusted("it is missing" if missing else "it is an older copy, or it was replaced by another ledger")
        return document

    def _parse_lost(self, stored: Stored) -> tuple[LedgerDocument, bool]:
        """Return what is left of the ledger (nothing if it is damaged), and whether it can be read."""
        try:
            return self._parse_text(stored), True
        except StateError:
            return LedgerDocument(), False

    def _parse_text(self, stored: Stored) -> LedgerDocument:
        try:
            if stored.text is None:
                return take_over(self.store.read_earlier())
            return LedgerDocument.model_validate_json(stored.text)
        except ValidationError as error:
            raise self._untrusted(f"it is not a ledger: {error.errors()[0]['msg']}") from error
        except ValueError as error:
            raise self._untrusted(str(error)) from error

    def _untrusted(self, what: str) -> StateError:
        return StateError(
            f"the gate's ledger {self.store.place} cannot be trusted: {what}",
            hint="Restore it from a backup. Do not delete what is left of it. If it is lost, `sluice gate confirm-loss --why …` "
            "records that, and then the gate needs a new holdout of fresh rows.",
        )


def _dump(document: LedgerDocument) -> bytes:
    return document.model_dump_json(indent=1).encode()
