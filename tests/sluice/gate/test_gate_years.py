"""What the gate promises for a year, simulated with the gate's own decision. docs/statistics.md quotes these numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gate_inputs import CHAMPION_RELEASE, RULE, bind, make_holdout
from scipy.stats import norm

from benchmarks.gate_years import ALPHA, WEEKS, Population, simulate_power, simulate_years
from sluice.gate.decision import MIN_PER_CLASS
from sluice.gate.ledger import Ledger
from sluice.gate.questions import ask_gate
from sluice.statistics.auc import estimate_auc

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_year_with_ten_thousand_rows() -> None:
    promoted = simulate_years(Population(10_000, 2_000, 0.9), 200, seed=1)
    assert promoted["gate"] <= ALPHA
    assert promoted["naive"] > 0.15


@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize("auc", [0.6, 0.75])
def test_a_year_with_the_fewest_rows_of_a_class_that_the_gate_accepts(correlation: float, auc: float) -> None:
    promoted = simulate_years(Population(1_000, MIN_PER_CLASS, correlation, auc), 800, seed=2)
    assert promoted["gate"] <= ALPHA
    assert promoted["naive"] > 0.9


def test_a_year_with_the_fewest_rows_of_both_classes() -> None:
    assert simulate_years(Population(2 * MIN_PER_CLASS, MIN_PER_CLASS, 0.0, 0.6), 800, seed=3)["gate"] <= ALPHA


def test_ten_thousand_rows_find_an_improvement_of_one_point() -> None:
    assert simulate_power(Population(10_000, 2_000, 0.9), 0.010, 400, seed=4) >= 0.8


@pytest.mark.parametrize("budget", [WEEKS, 400])
def test_four_hundred_adaptive_questions_gain_nothing(tmp_path: Path, budget: int) -> None:
    """An attacker asks about a random change of the best scores so far, and keeps each change that the gate promotes."""
    rng, rows = np.random.default_rng(5), 21_000
    labels = np.arange(rows) % 5 == 0
    scores = rng.normal(size=rows) + math.sqrt(2) * norm.ppf(0.85) * labels
    shown = slice(0, 1_000)
    ledger, holdout, rule = Ledger(tmp_path / "ledger"), make_holdout(labels[shown]), RULE.model_copy(update={"budget": budget})
    first = scores
    undecided = 0
    for number in range(400):
        changed = scores + 0.15 * rng.normal(size=rows)
        decision = ask_gate(
            ledger,
            holdout,
            challenger=(f"model {number}", bind(holdout, changed[shown])),
            champion=(CHAMPION_RELEASE, bind(holdout, scores[shown])),
            rule=rule,
        )
        undecided += decision.undecided
        scores = changed if decision.promote else scores
    gained = estimate_auc(labels[shown], scores[shown]).auc - estimate_auc(labels[shown], first[shown]).auc
    assert gained <= 0.002
    assert undecided == 400 - budget
