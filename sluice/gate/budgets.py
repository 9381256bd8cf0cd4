"""How much of a holdout's budget is used. Pure.

The gate's promise is that a model which is not better is promoted with a probability of at most alpha: over all questions to one
set of rows, and over all questions of any one year. Each question may use up alpha / budget of it.

* A question counts for ever against the rows that it was asked about, and against every row set that shares more than 5 % of its
  rows with them or comes from the same file.
* A question about other rows counts for 365 days, so that the promise for any one year survives a new holdout.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.data.row_sets import estimate_overlap
from sluice.gate.ledger_documents import LossRecord, QuestionRecord, RotationRecord, append, record_row_set

if TYPE_CHECKING:
    from sluice.data.row_sets import RowSet
    from sluice.gate.ledger_documents import GateRule, LedgerDocument, Question

SHARED_ROWS = 0.05
"""Row sets that share more of their rows than this continue each other's budget."""

YEAR_SECONDS = 365 * 86_400.0
WARN_AT = 0.8
"""The used share of the budget from which Sluice warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How much of the budget of a row set is used.

    Attributes:
        budget: The number of questions that the rule allows.
        own: Questions about these rows, or about row sets that share rows with them.
        carried: Questions about other rows in the last 365 days, in units of alpha / budget.
        frees_at: When the first carried question expires, in seconds since the epoch; None if none is carried.
        fresh: Questions that a holdout of fresh rows would have left now. All questions of the last 365 days count against it.
        fresh_from: When the first of these expires, in seconds since the epoch; None if there is none.
        lost: Whether records about these rows were lost, so that they answer no more questions.
        unrecorded: Whether questions about other rows are carried, although no rotation to these rows is recorded.
    """

    budget: int
    own: int
    carried: int
    frees_at: float | None
    fresh: int
    fresh_from: float | None
    lost: bool
    unrecorded: bool = False

    @property
    def used(self) -> int:
        """The number of questions that count now."""
        return self.budget if self.lost else self.own + self.carried

    @property
    def left(self) -> int:
        """The number of questions that can still be asked."""
        return max(0, self.budget - self.used)

    @property
    def warning(self) -> str:
        """What to say about a budget that is spent or nearly spent; empty if enough is left."""
        if not self.left:
            return f"the budget of {self.budget} questions is spent: the gate judges no other challenger now. {self.advice}"
        if self.used >= WARN_AT * self.budget:
            return f"{self.used} of {self.budget} questions are used. {self.advice}"
        return ""

    @property
    def advice(self) -> str:
        """What gives the gate more questions: a new holdout, or only time."""
        if self.fresh > self.left:
            many = "1 question" if self.fresh == 1 else f"{self.fresh} questions"
            return (
                f"A holdout of fresh labelled rows would have {many} left (`sluice holdout new`, then `sluice holdout rotate`)."
            )
        moments = [moment for moment in (self.fresh_from, self.frees_at) if moment is not None]
        when = f" before {time.strftime('%Y-%m-%d', time.localtime(min(moments)))}" if moments else ""
        return (
            f"A new holdout gives no more questions{when}, because the questions of the last 365 days count against every "
            "holdout. A person can let a model pass (`sluice gate override`)."
        )


UNRECORDED = (
    "the gate was asked about other rows in the last 365 days, and no rotation to this holdout is recorded, so nobody said who "
    "replaced the holdout and why"
)
"""The warning about a holdout that was edited into sluice.toml."""


def measure_budget(document: LedgerDocument, row_set: RowSet, *, holdout: str, rule: GateRule, now: float) -> BudgetUse:
    """Return how much of the budget of a row set is used.

    Args:
        document: The ledger.
        row_set: The row set of the present holdout.
        holdout: The digest of the present holdout's bytes. Questions of earlier versions name only this digest.
        rule: The gate's numbers now.
        now: The time, in seconds since the epoch.
    """
    related = find_related(document, row_set, holdout=holdout)
    own, others = part_questions(document, related, holdout)
    recent = [record for record in others if now - record.at < YEAR_SECONDS]
    oldest = min((record.at for record in recent), default=None)
    of_the_year = recent + [record for record in own if now - record.at < YEAR_SECONDS]
    first = min((record.at for record in of_the_year), default=None)
    return BudgetUse(
        budget=rule.budget,
        own=len(own),
        carried=_count_spent(recent, rule),
        frees_at=None if oldest is None else oldest + YEAR_SECONDS,
        fresh=max(0, rule.budget - _count_spent(of_the_year, rule)),
        fresh_from=None if first is None else first + YEAR_SECONDS,
        lost=any(isinstance(record, LossRecord) and record.row_set in related for record in document.records),
        unrecorded=bool(recent)
        and not any(isinstance(record, RotationRecord) and record.new in related for record in document.records),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """What the ledger says about a question that is being asked.

    Attributes:
        link: The link of the question's record. Empty if the budget is spent, so that the question was not recorded.
        uses: The number of questions that count with this one. Above the budget if it is spent.
        answer: The stored public answer to the same question; None if there is none.
        budget: The use of the budget after this question.
    """

    link: str
    uses: int
    answer: dict[str, Any] | None
    budget: BudgetUse


def plan_question(
    document: LedgerDocument, question: Question, row_set: RowSet, *, holdout: str, rule: GateRule, now: float
) -> tuple[LedgerDocument, AskedQuestion]:
    """Count a question. A repeated question changes nothing, and neither does a question that the budget does not allow.

    A question without a champion is always counted, because its answer does not depend on any score. `check_question` in
    `sluice.gate.refusals` says before whether the question may be asked.

    Args:
        document: The ledger so far.
        question: The question.
        row_set: The row set of the present holdout.
        holdout: The digest of its bytes.
        rule: The gate's numbers.
        now: The time in seconds since the epoch.

    Returns:
        The changed ledger, and what it says about the question.
    """
    known = document.find_question(question)
    before = measure_budget(document, row_set, holdout=holdout, rule=rule, now=now)
    if known:
        return document, AskedQuestion(link=known.link, uses=known.uses, answer=document.find_answer(known.link), budget=before)
    uses = before.used + 1
    if question.champion is not None and not before.left:
        return document, AskedQuestion(link="", uses=uses, answer=None, budget=before)
    record = QuestionRecord(at=now, holdout=holdout, question=question, uses=uses)
    after = append(record_row_set(document, row_set, holdout=holdout, now=now), record)
    measured = measure_budget(after, row_set, holdout=holdout, rule=rule, now=now)
    return after, AskedQuestion(link=after.head, uses=uses, answer=None, budget=measured)


def find_related(document: LedgerDocument, row_set: RowSet, *, holdout: str) -> frozenset[str]:
    """Return the digests of the row sets that continue each other's budget with this one.

    They are this row set itself, all known ones that share more than 5 % of their rows with it, and all that were read from the
    same file. The last ones may have other ids, because the loader makes the ids.
    """
    shared = {one.digest for one in document.row_sets() if estimate_overlap(one, row_set) > SHARED_ROWS}
    same_file = {digest for file, digest in document.files() if file == holdout}
    return frozenset(shared | same_file | {row_set.digest})


def part_questions(
    document: LedgerDocument, related: frozenset[str], holdout: str
) -> tuple[list[QuestionRecord], list[QuestionRecord]]:
    """Return the questions about related rows, and the questions about other rows."""
    files = {file for file, digest in document.files() if digest in related} | {holdout}
    own: list[QuestionRecord] = []
    others: list[QuestionRecord] = []
    for record in document.questions():
        rows = record.question.row_set
        is_own = rows in related if rows else record.holdout in files
        (own if is_own else others).append(record)
    return own, others


def _count_spent(records: list[QuestionRecord], rule: GateRule) -> int:
    """Return how many questions of the present rule have used up as much of alpha as these."""
    spent = sum(_tail(record, rule) for record in records) / (rule.alpha / rule.budget)
    return math.ceil(spent - 1e-9)  # equal rules give a whole number, but for rounding


def _tail(record: QuestionRecord, rule: GateRule) -> float:
    """Return the share of alpha that a question may use up."""
    asked = record.question.rule or rule
    return asked.alpha / asked.budget
