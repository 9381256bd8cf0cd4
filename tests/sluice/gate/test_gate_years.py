"""What the gate promises for a year, simulated with the gate's own decision. docs/statistics.md quotes these numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gate_inputs import CHAMPION_RELEASE, RULE, bind, make_holdout
from scipy.stats import norm

from sluice.gate.decision import MIN_PER_CLASS, GateDecision, decide_promotion
from sluice.gate.ledger import Ledger
from sluice.gate.questions import ask_gate
from sluice.statistics.auc import estimate_auc

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

WEEKS = 52
ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Population:
    """Gate rows of two classes, and models whose scores have a correlation within each class."""

    rows: int
    positives: int
    correlation: float
    auc: float = 0.85

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.rows) < self.positives

    def draw(self, rng: np.random.Generator, common: np.ndarray, *, better: float = 0.0) -> np.ndarray:
        """Draw the scores of a model. `common` is what the scores of all models of a year share."""
        own = math.sqrt(1 - self.correlation) * rng.normal(size=self.rows)
        return math.sqrt(self.correlation) * common + own + math.sqrt(2) * norm.ppf(self.auc + better) * self.labels

    def decide(self, champion: np.ndarray, challenger: np.ndarray, uses: int = 1) -> GateDecision:
        """Return the gate's decision with its secret numbers."""
        rule = {"margin": RULE.margin, "alpha": RULE.alpha, "budget": RULE.budget}
        return decide_promotion(self.labels, champion=champion, challenger=challenger, uses=uses, **rule)


def simulate_years(population: Population, years: int, *, seed: int) -> tuple[float, float]:
    """Ask the gate once a week about a challenger that equals the champion.

    Returns:
        The share of years with a promotion: by the gate, and by the naive rule "the AUC is higher by more than the margin".
    """
    rng = np.random.default_rng(seed)
    by_gate = by_naive_rule = 0
    for _ in range(years):
        common = rng.normal(size=population.rows)
        champion = population.draw(rng, common)
        asked = [population.decide(champion, population.draw(rng, common), week) for week in range(1, WEEKS + 1)]
        by_gate += any(decision.promote for decision in asked)
        by_naive_rule += any(decision.difference > RULE.margin for decision in asked)
    return by_gate / years, by_naive_rule / years


def test_a_year_with_ten_thousand_rows() -> None:
    by_gate, by_naive_rule = simulate_years(Population(10_000, 2_000, 0.9), 200, seed=1)
    assert by_gate <= ALPHA
    assert by_naive_rule > 0.15


@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize("auc", [0.6, 0.75])
def test_a_year_with_the_fewest_rows_of_a_class_that_the_gate_accepts(correlation: float, auc: float) -> None:
    population = Population(1_000, MIN_PER_CLASS, correlation, auc)
    by_gate, by_naive_rule = simulate_years(population, 800, seed=2)
    assert by_gate <= ALPHA
    assert by_naive_rule > 0.9


def test_a_year_with_the_fewest_rows_of_both_classes() -> None:
    assert simulate_years(Population(2 * MIN_PER_CLASS, MIN_PER_CLASS, 0.0, 0.6), 800, seed=3)[0] <= ALPHA


def test_ten_thousand_rows_find_an_improvement_of_one_point() -> None:
    population, rng = Population(10_000, 2_000, 0.9), np.random.default_rng(4)
    promoted = 0
    for _ in range(400):
        common = rng.normal(size=population.rows)
        promoted += population.decide(population.draw(rng, common), population.draw(rng, common, better=0.010)).promote
    assert promoted / 400 >= 0.8


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
