"""A question to the gate is counted before it is answered, it is answered once, and the answer never changes."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.errors import DataError, StateError
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import GateRule
from sluice.gate.questions import ask_gate

HOLDOUT = "sha256:" + "ab" * 32
RULE = GateRule(margin=0.005, alpha=0.05, budget=3)
LABELS = np.arange(500) % 4 == 0
CHAMPION = np.random.default_rng(1).random(500)
GOOD = CHAMPION + 0.5 * LABELS


@pytest.fixture
def ledger(tmp_path: object) -> Ledger:
    return Ledger(tmp_path / "ledger")


def ask(ledger: Ledger, name: str, scores: np.ndarray, **changes: object) -> object:
    arguments = {"holdout": HOLDOUT, "champion": ("champion", CHAMPION), "rule": RULE, **changes}
    return ask_gate(ledger, LABELS, challenger=(name, scores), **arguments)


def test_a_repeated_question_has_the_same_answer_and_is_not_counted(ledger: Ledger) -> None:
    kept, promoted = ask(ledger, "equal", CHAMPION), ask(ledger, "good", GOOD)
    assert (kept.promote, kept.difference, kept.uses) == (False, None, 1)
    assert (promoted.promote, promoted.uses) == (True, 2)
    assert promoted.difference > 0.1
    assert (ask(ledger, "equal", CHAMPION), ask(ledger, "good", GOOD)) == (kept, promoted)
    assert ledger.count_questions(HOLDOUT) == 2


def test_other_scores_under_a_known_digest_get_the_stored_answer(ledger: Ledger) -> None:
    kept = ask(ledger, "equal", CHAMPION)
    assert ask(ledger, "equal", GOOD) == kept


def test_an_answer_stays_after_the_budget_is_spent(ledger: Ledger) -> None:
    first = ask(ledger, "good", GOOD)
    for number in range(2):
        ask(ledger, f"{number}", CHAMPION)
    spent = ask(ledger, "better", GOOD)
    assert first.promote
    assert not spent.promote
    assert "replace the holdout" in spent.verdict.detail
    assert ask(ledger, "good", GOOD) == first


def test_asking_with_many_margins_spends_the_budget(ledger: Ledger) -> None:
    answers = [ask(ledger, "good", GOOD, rule=RULE.model_copy(update={"margin": margin / 10})) for margin in range(6)]
    assert ledger.count_questions(HOLDOUT) == 6
    assert all("replace the holdout" in answer.verdict.detail for answer in answers[3:])


def test_a_question_that_cannot_be_answered_is_counted(ledger: Ledger) -> None:
    for _ in range(2):
        with pytest.raises(DataError):
            ask(ledger, "broken", np.full(500, np.nan))
    assert ledger.count_questions(HOLDOUT) == 1


def test_the_first_champion_needs_no_comparison(ledger: Ledger) -> None:
    first = ask(ledger, "first", CHAMPION, champion=None)
    assert (first.promote, first.unproven) == (True, True)
    assert ask(ledger, "first", CHAMPION, champion=None) == first


def test_a_raised_budget_is_refused(ledger: Ledger) -> None:
    ask(ledger, "equal", CHAMPION)
    with pytest.raises(StateError, match=r"gate\.budget"):
        ask(ledger, "good", GOOD, rule=RULE.model_copy(update={"budget": 100}))


def test_a_damaged_stored_answer_is_an_error(ledger: Ledger) -> None:
    entry = ledger.record(HOLDOUT, challenger="good", champion="champion", rule=RULE)
    ledger.save_decision(entry, {"promote": True})
    with pytest.raises(StateError, match="stored decision") as refused:
        ask(ledger, "good", GOOD)
    assert refused.value.hint
