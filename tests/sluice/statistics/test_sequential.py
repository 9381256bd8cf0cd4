"""The e-process: its formula, its mean of at most 1 by exact enumeration, and the documented figures."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from sluice.statistics.sequential import RATIOS, ErrorEvidence, add_window, start_evidence, start_step

ROLLBACK_E_VALUE = 100.0


def window(canary: int, canary_errors: int, stable: int, stable_errors: int) -> dict[str, int]:
    return {"canary_requests": canary, "canary_errors": canary_errors, "stable_requests": stable, "stable_errors": stable_errors}


@st.composite
def windows(draw: st.DrawFn) -> dict[str, int]:
    canary, stable = draw(st.integers(0, 50)), draw(st.integers(0, 500))
    return window(canary, draw(st.integers(0, min(canary, 5))), stable, draw(st.integers(0, min(stable, 5))))


def test_three_errors_of_a_canary_at_five_per_cent_reach_the_rollback_e_value() -> None:
    evidence = start_evidence()
    assert evidence.e_value == 1
    values = []
    for _ in range(3):
        evidence = add_window(evidence, **window(5, 1, 95, 0))
        values.append(evidence.e_value)
    expected = [np.mean([(r * 0.05 / (r * 0.05 + 0.95) / 0.05) ** errors for r in (3, 5, 10, 20, 50)]) for errors in (1, 2, 3)]
    assert values == pytest.approx(expected)
    assert values[1] < ROLLBACK_E_VALUE < values[2]


@given(st.lists(windows(), max_size=6))
def test_the_e_value_is_the_mean_of_the_likelihood_ratios(seen: list[dict[str, int]]) -> None:
    evidence = start_evidence(tolerated_ratio=1.5)
    ratios = np.array(RATIOS)
    product_of_ratios = np.ones(5)
    canary = stable = 0
    for one in seen:
        evidence = add_window(evidence, **one)
        canary, stable = canary + one["canary_requests"], stable + one["stable_requests"]
        errors = one["canary_errors"], one["stable_errors"]
        if sum(errors):
            share = canary / (canary + stable)
            null = 1.5 * share / (1.5 * share + 1 - share)
            alternative = ratios * share / (ratios * share + 1 - share)
            if 0 < share < 1:
                product_of_ratios *= (alternative / null) ** errors[0] * ((1 - alternative) / (1 - null)) ** errors[1]
            canary = stable = 0
    assert evidence.e_value == pytest.approx(product_of_ratios.mean(), rel=1e-9)


@given(st.lists(windows(), max_size=5))
def test_windows_without_errors_do_not_change_the_e_value(seen: list[dict[str, int]]) -> None:
    evidence = start_evidence()
    for one in seen:
        evidence = add_window(evidence, **one)
        quiet = add_window(evidence, **window(7, 0, 90, 0))
        assert quiet.e_value == evidence.e_value
        assert quiet.canary_requests == evidence.canary_requests + 7


@given(st.integers(1, 30), st.integers(1, 60), st.floats(1, 2.5), st.integers(1, 6), st.floats(1, 4))
def test_the_mean_of_the_evidence_after_one_window_is_at_most_one(
    canary: int, stable: int, tolerated: float, errors: int, burst: float
) -> None:
    """Given the number of errors in a window, the failed requests are a draw without replacement."""
    start = start_evidence(tolerated_ratio=tolerated, burst=burst)
    total = min(errors, canary + stable)
    chances = hypergeom.pmf(np.arange(total + 1), canary + stable, canary, total)
    mean = 0.0
    for hits in range(total + 1):
        if chances[hits] > 0:
            mean += chances[hits] * add_window(start, **window(canary, hits, stable, total - hits)).e_value
    assert mean <= 1 + 1e-9


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.floats(1, 2.5))
def test_with_a_configured_share_the_mean_for_a_canary_that_is_no_worse_is_at_most_one(
    share: float, better: float, tolerated: float
) -> None:
    odds = share / (1 - share) * tolerated * better
    chance = odds / (1 + odds)
    start = start_evidence(tolerated_ratio=tolerated)
    mean = 0.0
    for path in product((0, 1), repeat=3):
        evidence = start
        for hit in path:
            evidence = add_window(evidence, **window(10, hit, 10, 1 - hit), share=share)
        mean += math.prod(chance if hit else 1 - chance for hit in path) * evidence.e_value
    assert mean <= 1 + 1e-9


def test_the_configured_share_replaces_the_measured_one() -> None:
    start = start_evidence()
    assert add_window(start, **window(50, 1, 50, 0), share=0.05) == dataclasses.replace(
        add_window(start, **window(5, 1, 95, 0)), canary_requests=50, stable_requests=50
    )


def test_windows_of_one_request_give_the_same_evidence() -> None:
    """An error is compared with all requests since the error before it, and not only with its own window."""
    start = start_evidence()
    evidence = start
    for index in range(100):
        canary = index % 20 == 19
        evidence = add_window(evidence, **window(int(canary), int(index == 99), int(not canary), 0))
    assert evidence == add_window(start, **window(5, 1, 95, 0))


def test_a_new_step_starts_a_new_share() -> None:
    quiet = add_window(start_evidence(), **window(5, 0, 95, 0))
    error = window(25, 1, 75, 0)
    assert add_window(start_step(quiet), **error).log_terms == add_window(start_evidence(), **error).log_terms
    assert add_window(quiet, **error).e_value > add_window(start_step(quiet), **error).e_value


@pytest.mark.parametrize("alone", [window(100, 30, 0, 0), window(0, 0, 100, 30)])
def test_requests_of_only_one_release_give_no_evidence(alone: dict[str, int]) -> None:
    assert add_window(start_evidence(), **alone).e_value == 1


def test_a_share_of_zero_or_one_gives_no_evidence() -> None:
    for share in (0, 1):
        assert add_window(start_evidence(), **window(5, 5, 5, 0), share=share).e_value == 1


def test_an_incident_of_both_releases_gives_no_evidence() -> None:
    evidence = add_window(start_evidence(), **window(50, 50, 950, 950))
    assert evidence.e_value < 1e-6


def test_very_strong_evidence_stays_finite() -> None:
    evidence = start_evidence()
    for _ in range(100):
        evidence = add_window(evidence, **window(50, 50, 950, 0))
    assert math.isfinite(evidence.e_value)
    assert evidence.e_value > 1e200
    assert json.loads(json.dumps(evidence.to_dict(), allow_nan=False)) == evidence.to_dict()
    spotless = add_window(start_evidence(), **window(10, 0, 10**9, 10**6), share=0.5)
    assert spotless.e_value >= 0


@given(st.lists(windows(), max_size=6), st.sampled_from([1.0, 1.5]), st.sampled_from([1.0, 3.0]))
def test_evidence_survives_json_exactly(seen: list[dict[str, int]], tolerated: float, burst: float) -> None:
    evidence = start_evidence(tolerated_ratio=tolerated, burst=burst)
    for one in seen:
        evidence = add_window(evidence, **one)
    assert ErrorEvidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence


def test_the_burst_divides_the_logarithms() -> None:
    plain, corrected = (add_window(start_evidence(ratios=(10,), burst=burst), **window(5, 3, 95, 0)) for burst in (1, 3))
    assert corrected.log_e_value == pytest.approx(plain.log_e_value / 3)


def test_tolerated_ratios_are_not_looked_for() -> None:
    assert start_evidence(tolerated_ratio=5).ratios == (10, 20, 50)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tolerated_ratio": 0.5}, "tolerated_ratio"),
        ({"tolerated_ratio": math.nan}, "tolerated_ratio"),
        ({"tolerated_ratio": 50}, "finite and above the tolerated ratio"),
        ({"ratios": ()}, "finite and above the tolerated ratio"),
        ({"ratios": (3, math.inf)}, "finite and above the tolerated ratio"),
        ({"ratios": (3, math.nan)}, "finite and above the tolerated ratio"),
        ({"burst": 0.5}, "burst"),
        ({"burst": math.nan}, "burst"),
    ],
)
def test_settings_out_of_range_are_an_error(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        start_evidence(**settings)


def test_impossible_counts_of_a_window_are_an_error() -> None:
    for counts in (window(1, 2, 5, 0), window(5, 0, 1, 2), window(-1, 0, 5, 0), window(5, -1, 5, 0)):
        with pytest.raises(ValueError, match=r"counts of (canary|stable) must satisfy"):
            add_window(start_evidence(), **counts)
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="share must lie"):
            add_window(start_evidence(), **window(1, 0, 1, 0), share=share)


def test_damaged_evidence_is_an_error() -> None:
    values = start_evidence().to_dict()
    with pytest.raises(ValueError, match="1 log terms for 5 ratios"):
        ErrorEvidence.from_dict(values | {"log_terms": [0.0]})
    with pytest.raises(ValueError, match="burst"):
        ErrorEvidence.from_dict(values | {"burst": 0})
    with pytest.raises(TypeError):
        ErrorEvidence.from_dict(values | {"surprise": 1})


def canary_requests_until_rollback(
    rng: np.random.Generator,
    *,
    canary_rate: float,
    stable_rate: float,
    burst: float = 1.0,
    share: float | None = None,
    max_requests: int = 200_000,
) -> float | None:
    """Simulate one rollout at a true share of 5 %. The evidence is checked after every error, because nothing else raises it.

    Returns:
        The canary's requests until e >= 100; None if that is not reached within `max_requests` requests to both releases.
    """
    error_rate = 0.05 * canary_rate + 0.95 * stable_rate
    evidence = start_evidence(burst=burst)
    requests = 0
    while True:
        gap = int(rng.geometric(error_rate))
        requests += gap
        if requests > max_requests:
            return None
        hit = int(rng.random() < 0.05 * canary_rate / error_rate)
        canary = int(rng.binomial(gap - 1, 0.05)) + hit
        evidence = add_window(evidence, **window(canary, hit, gap - canary, 1 - hit), share=share)
        if evidence.e_value >= ROLLBACK_E_VALUE:
            return evidence.canary_requests


@pytest.mark.slow
@pytest.mark.parametrize("share", [None, 0.05])
def test_a_broken_canary_is_found_as_fast_as_documented(share: float | None) -> None:
    """For 2 % against 0.1 % at a share of 5 %, it takes 186 canary requests on average and 430 at the 95th percentile."""
    rng = np.random.default_rng(42)
    needed = [canary_requests_until_rollback(rng, canary_rate=0.02, stable_rate=0.001, share=share) for _ in range(4000)]
    assert None not in needed
    assert np.mean(needed) == pytest.approx(186, abs=12)
    assert np.quantile(needed, 0.95) == pytest.approx(430, abs=30)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.02])
def test_a_canary_that_is_no_worse_is_rarely_rolled_back(rate: float) -> None:
    """The limit is 1 %, both for a healthy canary and in an incident of both releases. It happens in about 0.4 %."""
    rng = np.random.default_rng(43)
    max_requests = 200_000 if rate < 0.01 else 10_000  # 200 errors each, because false alarms come early
    rolled_back = [
        canary_requests_until_rollback(rng, canary_rate=rate, stable_rate=rate, max_requests=max_requests) is not None
        for _ in range(3000)
    ]
    assert np.mean(rolled_back) <= 0.01


@pytest.mark.slow
def test_the_correction_for_bursts_costs_the_documented_requests() -> None:
    rng = np.random.default_rng(44)
    needed = [canary_requests_until_rollback(rng, canary_rate=0.02, stable_rate=0.001, burst=3, share=0.05) for _ in range(3000)]
    assert np.mean(needed) == pytest.approx(489, abs=20)


def is_rolled_back_after_bursts(rng: np.random.Generator, burst: float, sizes: tuple[int, ...]) -> bool:
    """Return whether a canary that is no worse is rolled back within 60 bursts, each of which hits one release."""
    evidence = start_evidence(burst=burst)
    for _ in range(60):
        size = int(rng.choice(sizes))
        canary, stable = (size, 0) if rng.random() < 0.05 else (0, size)
        evidence = add_window(evidence, **window(50, canary, 950, stable), share=0.05)
        if evidence.e_value >= ROLLBACK_E_VALUE:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(3,), (1, 2, 3), (1, 1, 1, 5)])
def test_bursts_need_the_correction_and_it_works_up_to_its_size(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(45)
    assert np.mean([is_rolled_back_after_bursts(rng, 1, sizes) for _ in range(1500)]) > 0.02
    assert np.mean([is_rolled_back_after_bursts(rng, max(sizes), sizes) for _ in range(1500)]) <= 0.01
