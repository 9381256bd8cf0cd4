"""Comparing the gateway's counts with the weights of the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluice.rollout.platforms.seldon.counters.shares import SETTLE_SECONDS, ShareWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

A, B = "sha256:a", "sha256:b"
HOSTS = {A: "churn-r1-a.ns.svc.cluster.local", B: "churn-r2-b.ns.svc.cluster.local"}
WEIGHTS = {A: 95, B: 5}


def fill(grown: Iterable[Mapping[str, int]], weights: Mapping[str, int] = WEIGHTS) -> ShareWindow:
    """Return a window in which these requests were counted, second by second, after the settling time."""
    window = ShareWindow().extend(weights, {}, now=0.0).extend(weights, {}, now=SETTLE_SECONDS)
    for number, one in enumerate(grown):
        window = window.extend(weights, one, now=SETTLE_SECONDS + 1 + number)
    return window


def test_requests_on_another_route_to_the_canary_are_a_problem_with_the_numbers() -> None:
    problem = fill([{A: 95, B: 55}] * 3).describe_problem(HOSTS)
    assert problem.startswith("the gateway sent 165 of 450 requests to churn-r2-b, whose weight is 5 %")
    assert "no release advances" in problem


def test_the_shares_that_the_weights_give_are_no_problem() -> None:
    random = np.random.default_rng(7)
    for _ in range(200):
        canary = random.binomial(100, 0.05, size=60).tolist()
        window = fill({A: 100 - one, B: one} for one in canary)
        assert sum(window.requests.values()) == 6000
        assert not window.describe_problem(HOSTS)


def test_nothing_is_compared_until_the_new_weights_have_settled_and_each_change_starts_anew() -> None:
    window = ShareWindow().extend(WEIGHTS, {}, now=0.0)
    for second in range(1, int(SETTLE_SECONDS)):
        window = window.extend(WEIGHTS, {A: 0, B: 1000}, now=float(second))
    window = window.extend(WEIGHTS, {A: 0, B: 1000}, now=SETTLE_SECONDS)
    assert not window.describe_problem(HOSTS), "these requests may have been sent by the former weights"
    window = window.extend(WEIGHTS, {A: 0, B: 1000}, now=SETTLE_SECONDS + 1)
    assert window.describe_problem(HOSTS)
    assert not window.extend({A: 50, B: 50}, {A: 0, B: 1000}, now=SETTLE_SECONDS + 2).describe_problem(HOSTS)
    assert not window.extend(None, {A: 0, B: 1000}, now=SETTLE_SECONDS + 2).describe_problem(HOSTS)


def test_without_requests_or_with_one_release_there_is_no_difference() -> None:
    assert not fill([]).describe_problem(HOSTS)
    assert not fill([{A: 500}], {A: 100}).describe_problem(HOSTS)
