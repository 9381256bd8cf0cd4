"""Simulate the error rates of all decisions, and draw them: `python -m benchmarks.error_rates [--picture FILE] [--scale 0.1]`.

The picture in docs/statistics.md comes from this command. The same simulations, with other seeds or more draws, are tests:
tests/sluice/gate/test_gate_years.py, tests/sluice/drift/test_error_rates.py and tests/sluice/rollout/test_simulated_rollouts.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.drift_columns import count_found_shifts, count_outcomes
from benchmarks.gate_years import Population, simulate_power, simulate_years
from benchmarks.pictures import Rate, draw_rates
from benchmarks.rollouts import CHUNK, simulate_many
from sluice.drift.comparisons import DriftOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = "python -m benchmarks.error_rates"

GATE = "Gate: a year of 52 weekly questions, every challenger equals the champion"
POWER = "Gate: a challenger that is better by 0.010 AUC is promoted"
DRIFT = "Drift: 15 columns of every type, none of which has moved"
FOUND = "Drift: a column that moved by 0.8 standard deviations is found"
HEALTHY = "Canary that is no worse than stable is rolled back"
BROKEN = "Canary that fails in 2 % of its requests (stable in 0.1 %) is rolled back"
TOLERATED = "Canary within a tolerated margin of 1 point is promoted"

ROLLOUTS: dict[str, dict[str, str]] = {
    HEALTHY: {
        "errors .1 %": "independent errors, 0.1 %",
        "errors 1 %, bursts of mean 3": "errors in bursts of mean 3, 1 %",
        "errors 1 %, bursts of mean 5": "errors in bursts of mean 5, 1 %",
        "stall of 2 s at step 2": "a stall of 2 s",
        "malformed requests, 5 a second": "5 malformed requests a second",
        "incident .1 -> 2 % in the bake": "an incident of the platform in the bake",
    },
    BROKEN: {"canary 2 %": "from the first request on"},
    TOLERATED: {"canary .5 % within the margin": "0.5 % against 0.1 %", "canary .8 % within the margin": "0.8 % against 0.1 %"},
}


def simulate_gate(scale: float) -> Iterator[Rate]:
    """Simulate years of questions, and one question about a better challenger."""
    for name, population, years in (
        ("10,000 gate rows, 2,000 positive", Population(10_000, 2_000, 0.9), 500),
        ("1,000 gate rows, 30 positive", Population(1_000, 30, 0.9, 0.75), 2_000),
    ):
        trials = max(20, round(years * scale))
        found = simulate_years(population, trials, seed=3)
        yield Rate(GATE, name, round(found["gate"] * trials), trials, 0.05)
        yield Rate(GATE, f"the naive rule, difference > 0.005, {population.rows:,} rows", round(found["naive"] * trials), trials)
    trials = max(20, round(400 * scale))
    power = simulate_power(Population(10_000, 2_000, 0.9), 0.01, trials, seed=4)
    yield Rate(POWER, "10,000 gate rows, 2,000 positive", round(power * trials), trials, 0.8, at_least=True)


def simulate_drift(scale: float) -> Iterator[Rate]:
    """Compare samples without drift, and samples in which one column has moved."""
    for reference, rows, runs in ((500, 500, 1_000), (20_000, 10_000, 300)):
        trials = max(20, round(runs * scale))
        alarms = count_outcomes(reference, rows, trials, seed=6)[DriftOutcome.DRIFTED]
        yield Rate(DRIFT, f"{rows:,} rows, reference of {reference:,}", alarms, trials, 0.01)
    for rows in (500, 10_000):
        trials = max(20, round(300 * scale))
        yield Rate(FOUND, f"{rows:,} rows", count_found_shifts(rows, trials, shift=0.8, seed=7), trials, 0.99, at_least=True)


def simulate_rollouts(scale: float) -> Iterator[Rate]:
    """Simulate rollouts with the real control rounds."""
    trials = max(CHUNK, round(1_000 * scale) // CHUNK * CHUNK)
    for group, cases in ROLLOUTS.items():
        for scenario, case in cases.items():
            results = simulate_many(scenario, trials)
            if group == TOLERATED:
                promoted = sum(one.outcome == "promoted" for one in results)
                yield Rate(group, case, promoted, trials, 0.95, at_least=True)
                continue
            down = sum(one.outcome == "rolled back" for one in results)
            yield (
                Rate(group, case, down, trials, 0.01)
                if group == HEALTHY
                else Rate(group, case, down, trials, 0.99, at_least=True)
            )


def main() -> None:
    """Print the rates as a table, and draw them if a file is named."""
    parser = argparse.ArgumentParser(description="Simulate the error rates of all decisions.")
    parser.add_argument("--picture", type=Path, help="SVG file to draw the rates into")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of simulations; 0.1 is a quick run")
    arguments = parser.parse_args()
    rates = [rate for simulate in (simulate_gate, simulate_drift, simulate_rollouts) for rate in simulate(arguments.scale)]
    table = Table("decision", "case", "rate", "simulations", "promised")
    for rate in rates:
        table.add_row(rate.group, rate.case, f"{rate.value:.2%}", f"{rate.trials:,}", rate.promise)
    Console(width=160).print(table)
    if arguments.picture:
        arguments.picture.write_text(draw_rates(rates, source=COMMAND), encoding="utf-8")


if __name__ == "__main__":
    main()
