"""Simulate what the gate promises for a year of weekly questions, next to simpler rules.

Run ``python -m benchmarks.gate_years`` in the project's root; ``--years 200`` is a quick run. All draws are seeded. The tests in
tests/sluice/gate/test_gate_years.py hold the same simulation to the promise.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from sluice.gate.decision import MIN_PER_CLASS, decide_promotion
from sluice.statistics.auc import compare_auc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.gate.decision import GateDecision

Floats: TypeAlias = NDArray[np.float64]

WEEKS, MARGIN, ALPHA = 52, 0.005, 0.05


@dataclass(frozen=True, slots=True)
class Population:
    """Gate rows of two classes, and models whose scores have a correlation within each class.

    Attributes:
        rows: The number of gate rows.
        positives: The number of gate rows with label 1.
        correlation: The correlation of two models' scores within a class.
        auc: The true AUC of a model.
    """

    rows: int
    positives: int
    correlation: float
    auc: float = 0.85

    @property
    def labels(self) -> NDArray[np.bool_]:
        """The labels, shape (rows,)."""
        return np.arange(self.rows) < self.positives

    def draw(self, rng: np.random.Generator, common: Floats, *, better: float = 0.0) -> Floats:
        """Draw the scores of a model, shape (rows,). `common` is what the scores of all models of one year share."""
        own = math.sqrt(1 - self.correlation) * rng.normal(size=self.rows)
        scores: Floats = math.sqrt(self.correlation) * common + own + math.sqrt(2) * norm.ppf(self.auc + better) * self.labels
        return scores

    def decide(self, champion: Floats, challenger: Floats, uses: int = 1) -> GateDecision:
        """Return the gate's decision with its secret numbers."""
        return decide_promotion(
            self.labels, champion=champion, challenger=challenger, margin=MARGIN, alpha=ALPHA, budget=WEEKS, uses=uses
        )


def simulate_years(population: Population, years: int, *, seed: int) -> dict[str, float]:
    """Ask the gate once a week about a challenger that equals the champion.

    Returns:
        The share of years with at least one promotion, by rule: ``gate``; ``normal``, the same bound with quantiles of the normal
        distribution instead of Student's t; and ``naive``, which promotes if the AUC is higher by more than the margin.
    """
    rng = np.random.default_rng(seed)
    quantile = float(norm.ppf(1 - ALPHA / WEEKS))
    promoted = dict.fromkeys(("gate", "normal", "naive"), 0)
    for _ in range(years):
        common = rng.normal(size=population.rows)
        champion = population.draw(rng, common)
        year: set[str] = set()
        for week in range(1, WEEKS + 1):
            challenger = population.draw(rng, common)
            decision = population.decide(champion, challenger, week)
            if decision.difference is None or decision.difference <= MARGIN:
                continue
            compared = compare_auc(population.labels, champion, challenger)
            rules = {
                "gate": decision.promote,
                "normal": compared.difference > quantile * compared.standard_error,
                "naive": True,
            }
            year |= {rule for rule, promotes in rules.items() if promotes}
        for rule in year:
            promoted[rule] += 1
    return {rule: count / years for rule, count in promoted.items()}


def simulate_power(population: Population, better: float, draws: int, *, seed: int) -> float:
    """Return how often the gate promotes a challenger whose true AUC is higher by `better`."""
    rng = np.random.default_rng(seed)
    promoted = 0
    for _ in range(draws):
        common = rng.normal(size=population.rows)
        promoted += population.decide(population.draw(rng, common), population.draw(rng, common, better=better)).promote
    return promoted / draws


def show_years(years: int) -> Table:
    """Return the table of false promotions in a year."""
    table = Table(
        "gate rows",
        "positives",
        "correlation",
        "AUC",
        "the gate",
        "normal quantiles",
        f"d > {MARGIN}",
        title="A year of 52 gates",
    )
    few = MIN_PER_CLASS
    populations = [Population(10_000, 2_000, 0.9)]
    populations += [Population(1_000, few, correlation, auc) for correlation in (0.0, 0.9) for auc in (0.6, 0.75, 0.85)]
    populations += [Population(2 * few, few, 0.0, 0.6)]
    for one in populations:
        # Many rows take longer, and their rates are far from the limit.
        found = simulate_years(one, max(20, years // 4) if one.rows > 5_000 else years, seed=1)  # noqa: PLR2004 - see above
        shown = (f"{found[rule]:.3f}" for rule in ("gate", "normal", "naive"))
        table.add_row(f"{one.rows:,}", f"{one.positives:,}", f"{one.correlation}", f"{one.auc}", *shown)
    return table


def show_power(years: int) -> Table:
    """Return the table of how often the gate finds an improvement."""
    table = Table(
        "gate rows", "+0.005", "+0.010", "+0.020", title="Power of one question (20 % positives, correlation 0.9, AUC 0.85)"
    )
    for rows in (1_000, 5_000, 10_000, 50_000):
        population = Population(rows, rows // 5, 0.9)
        draws = max(50, min(400, years // 2))
        table.add_row(
            f"{rows:,}", *(f"{simulate_power(population, better, draws, seed=2):.2f}" for better in (0.005, 0.01, 0.02))
        )
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Simulate what the gate promises for a year of weekly questions.")
    parser.add_argument("--years", type=int, default=1_000, help="years to simulate for each row of the table")
    arguments = parser.parse_args()
    sections: tuple[Callable[[int], Table], ...] = (show_years, show_power)
    for section in sections:
        start = time.perf_counter()
        Console().print(section(arguments.years))
        Console().print(f"{time.perf_counter() - start:.0f} s\n", style="dim")


if __name__ == "__main__":
    main()
