"""A question to the gate is counted before it is answered, it is answered once, and the answer never changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gate_inputs import CHAMPION_RELEASE, RULE, bind, make_holdout

from sluice.errors import DataError, StateError
from sluice.gate.decision import GateDecision
from sluice.gate.ledger import Ledger
from sluice.gate.questions import ask_gate

if TYPE_CHECKING:
    from pathlib import Path

SHORT = RULE.model_copy(update={"budget": 3})
LABELS = np.arange(500) % 4 == 0
HOLDOUT = make_holdout(LABELS)
CHAMPION = np.random.default_rng(1).random(500)
GOOD = CHAMPION + 0.5 * LABELS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def ask(ledger: Ledger, name: str, scores: np.ndarray, **changes: object) -> GateDecision:
    holdout = changes.pop("holdout", HOLDOUT)
    arguments = {"champion": (CHAMPION_RELEASE, bind(HOLDOUT, CHAMPION)), "rule": SHORT, **changes}
    return ask_gate(ledger, holdout, challenger=(name, bind(HOLDOUT, scores)), **arguments)


def count(ledger: Ledger) -> int:
    return len(ledger.read().questions())


def test_a_repeated_question_has_the_same_answer_and_is_not_counted(ledger: Ledger) -> None:
    kept, promoted = ask(ledger, "equal", CHAMPION), ask(ledger, "good", GOOD)
    assert (kept.promote, kept.difference, kept.uses, kept.left) == (False, None, 1, 2)
    assert (promoted.promote, promoted.uses, promoted.left) == (True, 2, 1)
    assert promoted.difference > 0.1
    again = ask(ledger, "equal", CHAMPION), ask(ledger, "good", GOOD)
    assert again == (dataclasses.replace(kept, left=1), promoted)  # what is left is always the present number
    assert count(ledger) == 2


def test_other_scores_of_the_same_model_file_are_another_question(ledger: Ledger) -> None:
    promoted = ask(ledger, "same file", GOOD)
    changed_code = ask(ledger, "same file", CHAMPION)
    assert (promoted.promote, changed_code.promote, changed_code.uses) == (True, False, 2)


def test_other_scores_of_the_same_champion_are_another_question(ledger: Ledger) -> None:
    better_champion = (CHAMPION_RELEASE, bind(HOLDOUT, GOOD))
    assert ask(ledger, "good", GOOD).promote
    assert not ask(ledger, "good", GOOD, champion=better_champion).promote
    assert count(ledger) == 2


def test_the_order_of_the_rows_changes_neither_the_question_nor_the_answer(ledger: Ledger) -> None:
    order = np.random.default_rng(2).permutation(len(HOLDOUT.rows))
    shuffled = dataclasses.replace(HOLDOUT, rows=HOLDOUT.rows.take(order), is_gate=HOLDOUT.is_gate[order])
    kept = ask(ledger, "equal", CHAMPION)
    assert ask(ledger, "equal", CHAMPION, holdout=shuffled) == kept
    assert ask(ledger, "good", GOOD, holdout=shuffled).promote
    assert count(ledger) == 2


def test_a_gate_row_without_a_score_is_an_error_and_uses_no_question(ledger: Ledger) -> None:
    larger = make_holdout(np.arange(600) % 4 == 0)
    with pytest.raises(DataError, match="100 of 600 rows have no score"):
        ask(ledger, "good", GOOD, holdout=larger)
    assert count(ledger) == 0


def test_rows_of_one_class_are_an_error_and_use_no_question(ledger: Ledger) -> None:
    with pytest.raises(DataError, match="all 500 gate rows have the same label"):
        ask(ledger, "first", CHAMPION, champion=None, holdout=make_holdout(np.zeros(500)))
    assert count(ledger) == 0


def test_an_answer_stays_after_the_budget_is_spent(ledger: Ledger) -> None:
    first = ask(ledger, "good", GOOD)
    for number in range(2):
        ask(ledger, f"{number}", CHAMPION)
    spent = ask(ledger, "better", GOOD)
    assert first.promote
    assert (spent.promote, spent.undecided, spent.uses, spent.left) == (False, True, 3, 0)
    assert "A new holdout gives no more questions before" in spent.verdict.detail
    assert ask(ledger, "good", GOOD) == dataclasses.replace(first, left=0)
    assert count(ledger) == 3


def test_asking_with_many_margins_spends_the_budget(ledger: Ledger) -> None:
    answers = [ask(ledger, "good", GOOD, rule=SHORT.model_copy(update={"margin": margin / 10})) for margin in range(6)]
    assert count(ledger) == 3
    assert [answer.undecided for answer in answers] == [False] * 3 + [True] * 3


def test_a_question_with_too_few_rows_of_a_class_is_undecided_and_not_counted(ledger: Ledger) -> None:
    few = make_holdout(np.arange(500) < 29)
    decision = ask(ledger, "good", np.arange(500) < 29, holdout=few)
    assert (decision.promote, decision.undecided, decision.uses, decision.left) == (False, True, 0, 3)
    assert "the smaller class has 29 gate rows and the gate needs 30" in decision.verdict.detail
    assert count(ledger) == 0


def test_the_first_champion_needs_no_comparison(ledger: Ledger) -> None:
    first = ask(ledger, "first", CHAMPION, champion=None)
    assert (first.promote, first.unproven, first.left) == (True, True, 2)
    assert ask(ledger, "first", CHAMPION, champion=None) == first


def test_the_decision_names_its_question_in_the_ledger_and_a_later_question_requires_it(ledger: Ledger, tmp_path: Path) -> None:
    promoted = ask(ledger, "good", GOOD)
    assert ledger.read().contains(promoted.ledger_head)
    assert GateDecision.from_public_dict(promoted.to_public_dict()).ledger_head == promoted.ledger_head
    ask(ledger, "next", GOOD, heads=[promoted.ledger_head])
    with pytest.raises(StateError, match="was deleted, shortened or replaced"):
        ask(Ledger(tmp_path / "another"), "next", GOOD, heads=[promoted.ledger_head])


def test_a_raised_budget_is_refused(ledger: Ledger) -> None:
    ask(ledger, "equal", CHAMPION)
    with pytest.raises(StateError, match=r"gate\.budget"):
        ask(ledger, "good", GOOD, rule=SHORT.model_copy(update={"budget": 100}))


def test_a_damaged_stored_answer_is_an_error(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDecision, "to_public_dict", lambda _: {"promote": True})
    ask(ledger, "good", GOOD)
    with pytest.raises(StateError, match="stored decision") as refused:
        ask(ledger, "good", GOOD)
    assert refused.value.hint
