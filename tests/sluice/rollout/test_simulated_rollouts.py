"""Simulated rollouts with the real control rounds: how often the decisions are wrong, and how many requests a right one takes.

`python -m benchmarks.rollouts` prints the same numbers for more scenarios.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.rollouts import Result, simulate_many

pytestmark = pytest.mark.slow

ENOUGH = 2000
NUMBER = int(os.environ.get("SLUICE_SIMULATIONS", str(ENOUGH)))


def simulate(name: str, number: int = NUMBER) -> list[Result]:
    return simulate_many(name, number, processes=2)


def share(results: list[Result], outcome: str) -> float:
    return float(np.mean([one.outcome == outcome for one in results]))


def allow(share: float, number: int = NUMBER) -> float:
    """Return the largest share that a sample may have if the true one is `share`: fewer simulations scatter more."""
    return share if number >= ENOUGH else float(binom.ppf(0.99, number, share)) / number


@pytest.mark.parametrize(
    "name",
    [
        "errors .1 %",
        "errors 0.1 %, bursts of mean 3",
        "errors 0.1 %, bursts of mean 5",
        "errors 1 %, bursts of mean 3",
        "errors 1 %, bursts of mean 5",
        "errors 0.1 %, bursts of mean 5 within 0.5 s",
        "errors 1 %, bursts of mean 5 within 0.2 s",
        "errors 1 %, bursts of mean 5 within 0.5 s",
        "stall of 2 s at step 2",
        "stall of 2 s at step 1",
        "30 slow answers in a second of the bake",
        "malformed requests, 5 a second",
        "incident .1 -> 30 % for 20 s of the bake",
        "incident .1 -> 2 % in the bake",
    ],
)
def test_at_most_1_per_cent_of_healthy_canaries_are_rolled_back(name: str) -> None:
    results = simulate(name)
    assert share(results, "rolled back") <= allow(0.01)
    assert share(results, "promoted") >= 1 - allow(0.02)
    if "malformed" in name:
        assert all(one.rejected for one in results), "the canary must meet malformed requests, or this scenario tests nothing"


@pytest.mark.parametrize(("name", "most"), [("canary 2 %", 200), ("canary 5 %", 100), ("canary 50 %", 30)])
def test_all_broken_canaries_are_rolled_back_early(name: str, most: int) -> None:
    results = simulate(name)
    assert share(results, "rolled back") == 1
    assert np.mean([one.requests for one in results]) <= most


@pytest.mark.parametrize(("rate", "number"), [(".3", 300), (".5", NUMBER), (".8", 300)])
def test_canaries_within_a_tolerated_margin_are_promoted(rate: str, number: int) -> None:
    results = simulate(f"canary {rate} % within the margin", number)
    assert share(results, "promoted") >= 0.95


@pytest.mark.parametrize("rate", ["2", "5", "20"])
def test_canaries_that_begin_to_fail_in_the_bake_are_rolled_back(rate: str) -> None:
    results = simulate(f"canary {rate} % in the bake", 300)
    assert share(results, "rolled back") == 1
    assert np.mean([one.seconds for one in results]) <= 60


@pytest.mark.parametrize("name", ["canary 5 % slow", "canary 50 % slow"])
def test_slow_canaries_are_rolled_back(name: str) -> None:
    assert share(simulate(name, 300), "rolled back") == 1


def test_a_fix_of_a_failing_champion_is_promoted_and_nothing_else_is() -> None:
    assert share(simulate("fix: stable fails 5 %", 300), "promoted") >= 0.95
    for name in ("no fix: both fail 5 %", "half a fix: 5 % and 2 %"):
        assert share(simulate(name, 25), "promoted") == 0


def test_a_shadow_that_counts_for_the_first_look_promotes_the_healthy_and_not_the_broken() -> None:
    assert share(simulate("shadow, healthy", 300), "promoted") >= 0.98
    assert share(simulate("shadow, canary 2 %", 300), "promoted") == 0
