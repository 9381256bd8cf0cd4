"""Simulated rollouts: how often the decisions are wrong, and how many requests a right decision takes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.rollouts import simulate

pytestmark = pytest.mark.slow

NUMBER = 120


def outcomes(kind: str) -> tuple[Counter[str], list[int]]:
    results = [simulate(kind, seed) for seed in range(NUMBER)]
    return Counter(outcome for outcome, _ in results), [requests for outcome, requests in results if outcome == "rolled_back"]


def test_healthy_canaries_are_promoted() -> None:
    found, _ = outcomes("healthy")
    assert found["rolled_back"] <= 3, "at most 1 % of 2,000; of 120 it may be a little more by chance"
    assert found["promoted"] == NUMBER - found["rolled_back"]


def test_all_broken_canaries_are_rolled_back_within_about_200_requests() -> None:
    found, requests = outcomes("broken")
    assert found["rolled_back"] == NUMBER
    assert np.mean(requests) <= 230, "the mean over 2,000 is below 200; this is one of 120"


def test_a_shared_incident_rolls_no_canary_back() -> None:
    found, _ = outcomes("shared incident")
    assert found["rolled_back"] <= 3
