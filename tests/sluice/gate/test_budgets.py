"""A question counts for ever against its own rows, and for a year against all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gate_inputs import DAY, FRESH, OTHER_BYTES, ROWS, RULE, ask, make_row_set

from sluice.data.row_sets import describe_row_set
from sluice.errors import StateError
from sluice.gate.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.data.row_sets import RowSet
    from sluice.gate.budgets import BudgetUse
    from sluice.gate.ledger_documents import GateRule


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def measure(ledger: Ledger, row_set: RowSet, *, at: float = 0.0, rule: GateRule = RULE) -> BudgetUse:
    return ledger.measure(row_set, holdout=OTHER_BYTES, rule=rule, at=at)


def test_the_same_rows_in_another_file_continue_the_budget(ledger: Ledger) -> None:
    for number in range(3):
        ask(ledger, f"{number}", at=0.0)
    reordered = describe_row_set(reversed(range(1_000)), [1, 0] * 500)
    assert ask(ledger, "next", row_set=reordered, holdout=OTHER_BYTES, at=1.0).uses == 4
    assert measure(ledger, ROWS, at=3_000 * DAY).own == 4


@pytest.mark.parametrize(("shared", "continues"), [(900, True), (100, True), (0, False)])
def test_rows_that_overlap_continue_the_budget(ledger: Ledger, shared: int, continues: bool) -> None:
    ask(ledger, "first", at=0.0)
    use = measure(ledger, make_row_set(1_000 - shared), at=1.0)
    assert (use.own, use.carried) == ((1, 0) if continues else (0, 1))


def test_a_subset_with_corrected_labels_continues_the_budget(ledger: Ledger) -> None:
    ask(ledger, "first", at=0.0)
    assert measure(ledger, describe_row_set(range(300), [1] * 300)).own == 1


def test_questions_about_other_rows_expire_after_a_year(ledger: Ledger) -> None:
    for day in (0, 100, 200):
        ask(ledger, f"{day}", at=day * DAY)
    ledger.rotate(ROWS, FRESH, by="ada", why="the old rows are two years old", at=200 * DAY)
    use = measure(ledger, FRESH, at=300 * DAY)
    assert (use.own, use.carried, use.left, use.frees_at) == (0, 3, 49, 365 * DAY)
    assert [measure(ledger, FRESH, at=day * DAY).used for day in (364, 366, 466, 566)] == [3, 2, 1, 0]
    assert measure(ledger, ROWS, at=5_000 * DAY).used == 3


def test_no_window_of_a_year_has_more_questions_than_the_budget(ledger: Ledger) -> None:
    rule = RULE.model_copy(update={"budget": 4})
    asked = []
    for day in range(0, 900, 20):
        row_set = make_row_set(10_000 * (day // 100))  # a new holdout every 100 days
        if ask(ledger, f"{day}", row_set=row_set, holdout=f"sha256:{day // 100}", rule=rule, at=day * DAY).link:
            asked.append(day)
    assert len(asked) > 8
    assert max(sum(start <= day < start + 365 for day in asked) for start in asked) == 4


def test_a_new_budget_after_a_rotation_counts_earlier_questions_by_the_alpha_that_they_used(ledger: Ledger) -> None:
    for number in range(13):
        ask(ledger, f"{number}", at=0.0)  # a quarter of alpha
    assert measure(ledger, FRESH, at=DAY, rule=RULE.model_copy(update={"budget": 12})).carried == 3
    assert measure(ledger, FRESH, at=DAY, rule=RULE.model_copy(update={"budget": 10})).carried == 3  # rounded up


@pytest.mark.parametrize(
    ("change", "key"), [({"alpha": 0.1}, r"gate\.alpha"), ({"budget": 104}, r"gate\.budget"), ({"gate_fraction": 0.95}, "95")]
)
def test_alpha_budget_and_gate_fraction_of_used_rows_cannot_change(ledger: Ledger, change: dict[str, float], key: str) -> None:
    ask(ledger, "first", at=0.0)
    changed = RULE.model_copy(update=change)
    for row_set in (ROWS, make_row_set(100)):
        with pytest.raises(StateError, match=key) as refused:
            ask(ledger, "second", row_set=row_set, holdout=OTHER_BYTES, rule=changed, at=1.0)
        assert "replace the holdout" in refused.value.hint
    assert len(ledger.read().questions()) == 1
    assert ask(ledger, "second", row_set=FRESH, holdout=OTHER_BYTES, rule=changed, at=1.0).link


def test_a_spent_budget_records_no_more_questions_and_warns_before(ledger: Ledger) -> None:
    rule = RULE.model_copy(update={"budget": 10})
    warnings = [ask(ledger, f"{number}", rule=rule, at=0.0).budget.warning for number in range(10)]
    assert [bool(warning) for warning in warnings] == [False] * 7 + [True] * 3
    assert "8 of 10 questions are used" in warnings[7]
    assert "is spent" in warnings[9]
    spent = ask(ledger, "another", rule=rule, at=0.0)
    assert (spent.link, spent.uses, spent.budget.left) == ("", 11, 0)
    assert ask(ledger, "3", rule=rule, at=0.0).uses == 4
    assert len(ledger.read().questions()) == 10


def test_a_rotation_to_rows_that_a_holdout_contained_is_refused(ledger: Ledger) -> None:
    ask(ledger, "first", row_set=make_row_set(5_000), at=0.0)
    for new in (make_row_set(100), make_row_set(5_500)):
        with pytest.raises(StateError, match=r"shares about .* of its rows with an earlier one"):
            ledger.rotate(ROWS, new, by="ada", why="fresh rows", at=1.0)
    ledger.rotate(ROWS, FRESH, by="ada", why="fresh rows", at=1.0)
    assert [(record.kind, record.by) for record in ledger.read().records if record.kind == "rotation"] == [("rotation", "ada")]


def test_the_advice_names_a_new_holdout_only_if_it_has_questions_left(ledger: Ledger) -> None:
    rule = RULE.model_copy(update={"budget": 4})
    for day in (0, 100, 200, 300):
        ask(ledger, f"{day}", rule=rule, at=day * DAY)
    within = measure(ledger, ROWS, at=301 * DAY, rule=rule)
    assert (within.left, within.fresh, within.fresh_from) == (0, 0, 365 * DAY)
    assert "A new holdout gives no more questions before 1971-01-0" in within.warning  # one or the other day, by the time zone
    assert "sluice gate override" in within.warning
    later = measure(ledger, ROWS, at=500 * DAY, rule=rule)
    assert (later.left, later.fresh) == (0, 2)
    assert "would have 2 questions left (`sluice holdout new`" in later.warning
    rotated = measure(ledger, FRESH, at=500 * DAY, rule=rule)
    assert (rotated.left, rotated.warning) == (2, "")
