"""The e-process: its formula, its mean of at most 1 by exact enumeration, and the documented figures."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from sluice.statistics.sequential import RATIOS, SMALL_RATIOS, add_block, add_block_against_rate, start_evidence

ROLLBACK_E_VALUE = 100.0


def block(canary: int, canary_errors: int, stable: int, stable_errors: int, share: float = 0.05) -> dict[str, Any]:
    return {
        "canary_requests": canary,
        "canary_errors": canary_errors,
        "stable_requests": stable,
        "stable_errors": stable_errors,
        "share": share,
    }


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    canary, stable = draw(st.integers(0, 50)), draw(st.integers(0, 500))
    return block(canary, draw(st.integers(0, min(canary, 5))), stable, draw(st.integers(0, min(stable, 5))))


def test_three_errors_of_a_canary_at_five_per_cent_reach_the_rollback_e_value() -> None:
    evidence = start_evidence()
    assert evidence.e_value == 1
    values = []
    for _ in range(3):
        evidence = add_block(evidence, **block(5, 1, 95, 0))
        values.append(evidence.e_value)
    expected = [np.mean([(r * 0.05 / (r * 0.05 + 0.95) / 0.05) ** errors for r in (3, 5, 10, 20, 50)]) for errors in (1, 2, 3)]
    assert values == pytest.approx(expected)
    assert values[1] < ROLLBACK_E_VALUE < values[2]


@given(st.lists(blocks(), max_size=6))
def test_the_factor_of_a_block_is_the_mean_likelihood_ratio_of_its_errors(seen: list[dict[str, Any]]) -> None:
    evidence = start_evidence(tolerated_ratio=1.5)
    ratios = np.array(RATIOS)
    null = 1.5 * 0.05 / (1.5 * 0.05 + 0.95)
    alternative = ratios * 0.05 / (ratios * 0.05 + 0.95)
    product_of_means = np.ones(5)
    for one in seen:
        evidence = add_block(evidence, **one)
        errors = one["canary_errors"], one["stable_errors"]
        if sum(errors):
            likelihoods = errors[0] * alternative / null + errors[1] * (1 - alternative) / (1 - null)
            product_of_means *= likelihoods / sum(errors)
    assert evidence.e_value == pytest.approx(product_of_means.mean(), rel=1e-9)


def test_a_burst_in_one_block_weighs_as_much_as_one_error() -> None:
    """Five requests that fail together rolled healthy canaries back when each counted on its own."""
    start = start_evidence()
    assert add_block(start, **block(5, 5, 95, 0)).e_value == pytest.approx(add_block(start, **block(5, 1, 95, 0)).e_value)


@pytest.mark.parametrize("split", [(1, 4), (2, 3), (4, 1)])
def test_a_burst_that_crosses_the_border_of_two_blocks_weighs_as_much_as_one_error(split: tuple[int, int]) -> None:
    """It counted as two errors, and 2 % of healthy canaries were rolled back."""
    evidence = start_evidence()
    for errors in split:
        evidence = add_block(evidence, **block(5, errors, 95, 0), joins_bursts=True)
    assert evidence.e_value == pytest.approx(add_block(start_evidence(), **block(10, 5, 190, 0)).e_value)
    later = add_block(evidence, **block(5, 5, 95, 0), joins_bursts=True)
    assert later.e_value > 5 * evidence.e_value, "a third block with errors is another burst"


def test_two_single_errors_in_successive_blocks_count_as_two() -> None:
    plain = joined = start_evidence()
    for _ in range(2):
        plain, joined = add_block(plain, **block(5, 1, 95, 0)), add_block(joined, **block(5, 1, 95, 0), joins_bursts=True)
    assert joined.e_value == plain.e_value


@given(st.lists(blocks(), max_size=6))
def test_joining_bursts_never_makes_the_evidence_larger(seen: list[dict[str, Any]]) -> None:
    """So the bound of 1 % holds for independent blocks as it does without joining."""
    plain = joined = start_evidence()
    for one in seen:
        plain, joined = add_block(plain, **one), add_block(joined, **one, joins_bursts=True)
        assert joined.e_value <= plain.e_value * (1 + 1e-12)


@given(st.lists(blocks(), max_size=5))
def test_blocks_without_errors_do_not_change_the_e_value(seen: list[dict[str, Any]]) -> None:
    evidence = start_evidence()
    for one in seen:
        evidence = add_block(evidence, **one)
        quiet = add_block(evidence, **block(7, 0, 90, 0))
        assert quiet.e_value == evidence.e_value
        assert quiet.canary_requests == evidence.canary_requests + 7


@given(st.floats(0.01, 0.99), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(0, 1), st.floats(1, 2.5))
def test_the_mean_factor_of_a_block_is_at_most_one_for_any_sizes_of_bursts(
    share: float, sizes: list[int], better: float, tolerated: float
) -> None:
    """Each burst of the block hits one of the two releases. All ways to do so are enumerated."""
    odds = share / (1 - share) * tolerated * better
    chance = odds / (1 + odds)
    start = start_evidence(tolerated_ratio=tolerated)
    mean = 0.0
    for hits in product((0, 1), repeat=len(sizes)):
        canary = sum(size for size, hit in zip(sizes, hits, strict=True) if hit)
        probability = math.prod(chance if hit else 1 - chance for hit in hits)
        mean += probability * add_block(start, **block(100, canary, 100, sum(sizes) - canary, share)).e_value
    assert mean <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.05, 0.9),
    st.integers(1, 8),
    st.just(0.0) | st.floats(0.001, 0.05),
    st.floats(0, 1),
    st.just(0.0) | st.floats(1e-6, 0.02),
)
def test_the_mean_factor_is_at_most_one_if_the_excess_is_tolerated(
    share: float, canary: int, rate: float, better: float, tolerated_excess: float
) -> None:
    """All numbers of errors are enumerated. With a single request of the canary, the mean exceeds 1 by a few millionths."""
    stable_requests = max(1, round(canary * (1 - share) / share))
    share = canary / (canary + stable_requests)
    canary_rate = min(1.0, rate + better * tolerated_excess)
    start = start_evidence(tolerated_excess=tolerated_excess, ratios=(*SMALL_RATIOS, *RATIOS))
    canary_chances = binom.pmf(np.arange(canary + 1), canary, canary_rate)
    stable_chances = binom.pmf(np.arange(min(stable_requests, 60) + 1), stable_requests, rate)
    mean = 0.0
    for failed, other in product(range(canary + 1), range(len(stable_chances))):
        if (chance := canary_chances[failed] * stable_chances[other]) > 1e-14:
            mean += chance * add_block(start, **block(canary, failed, stable_requests, other, share)).e_value
    assert mean <= 1 + 1e-4


def test_errors_within_the_tolerated_excess_are_evidence_for_the_canary() -> None:
    tolerant = start_evidence(tolerated_excess=0.01)
    assert add_block(tolerant, **block(100, 1, 1900, 0)).e_value <= 1
    assert add_block(tolerant, **block(100, 10, 1900, 0)).e_value > 1
    assert add_block(tolerant, **block(100, 0, 1900, 0)).e_value < 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_requests_of_only_one_release_give_no_evidence(share: float) -> None:
    assert add_block(start_evidence(), **block(5, 5, 5, 0, share)).e_value == 1


def test_an_incident_of_both_releases_gives_no_evidence() -> None:
    assert add_block(start_evidence(), **block(50, 50, 950, 950)).e_value == pytest.approx(1)


def test_very_strong_evidence_stays_finite() -> None:
    evidence = start_evidence()
    for _ in range(400):
        evidence = add_block(evidence, **block(50, 50, 950, 0))
    assert math.isfinite(evidence.e_value)
    assert evidence.e_value > 1e200


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.001, 0.9), st.sampled_from([1.0, 3.0]))
def test_one_block_never_multiplies_the_comparison_with_a_rate_by_more_than_the_limit(
    fine: int, failed: int, rate: float, burst: float
) -> None:
    start = start_evidence(burst=burst)
    after = add_block_against_rate(start, requests=fine + failed, errors=failed, rate=rate, largest_factor=5.0)
    assert after.e_value <= 5 + 1e-9
    unlimited = add_block_against_rate(start, requests=fine + failed, errors=failed, rate=rate)
    assert after.e_value <= unlimited.e_value + 1e-9


def test_the_burst_divides_the_logarithms() -> None:
    plain, corrected = (
        add_block_against_rate(start_evidence(ratios=(10,), burst=burst), requests=5, errors=3, rate=0.001) for burst in (1, 3)
    )
    assert corrected.log_e_value == pytest.approx(plain.log_e_value / 3)


def test_tolerated_ratios_are_not_looked_for() -> None:
    assert start_evidence(tolerated_ratio=5).ratios == (10, 20, 50)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"tolerated_ratio": 0.5}, "tolerated_ratio"),
        ({"tolerated_ratio": math.nan}, "tolerated_ratio"),
        ({"tolerated_ratio": 50}, "finite and above the tolerated ratio"),
        ({"ratios": ()}, "finite and above the tolerated ratio"),
        ({"ratios": (3, math.inf)}, "finite and above the tolerated ratio"),
        ({"ratios": (3, math.nan)}, "finite and above the tolerated ratio"),
        ({"tolerated_excess": -0.1}, "tolerated_excess"),
        ({"tolerated_excess": 1.0}, "tolerated_excess"),
        ({"burst": 0.5}, "burst"),
        ({"burst": math.nan}, "burst"),
    ],
)
def test_settings_out_of_range_are_an_error(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        start_evidence(**wrong)


@pytest.mark.parametrize("page", ["rollout.md", "statistics.md"])
def test_the_documented_bound_of_wald_is_what_the_formula_gives(page: str) -> None:
    """A test that condemns 2 % surely and 0.5 % in at most one twentieth needs ln(20) / KL(2 %, 0.5 %) requests on average."""
    divergence = 0.02 * math.log(0.02 / 0.005) + 0.98 * math.log(0.98 / 0.995)
    text = (Path(__file__).parents[3] / "docs" / page).read_text(encoding="utf-8")
    assert f"{math.log(20) / divergence:.0f} requests" in text


def test_impossible_counts_of_a_block_are_an_error() -> None:
    for counts in (block(1, 2, 5, 0), block(5, 0, 1, 2), block(-1, 0, 5, 0), block(5, -1, 5, 0)):
        with pytest.raises(ValueError, match=r"counts of (canary|stable) must satisfy"):
            add_block(start_evidence(), **counts)
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="share must lie"):
            add_block(start_evidence(), **block(1, 0, 1, 0, share))


def canary_requests_until_rollback(
    rng: np.random.Generator, *, canary_rate: float, stable_rate: float, max_blocks: int
) -> int | None:
    """Simulate one rollout in blocks of 100 requests, a twentieth of which goes to the canary on average.

    Returns:
        The canary's requests until e >= 100; None if that is not reached within `max_blocks` blocks.
    """
    evidence = start_evidence()
    canary = rng.binomial(100, 0.05, max_blocks)
    errors = rng.binomial(canary, canary_rate), rng.binomial(100 - canary, stable_rate)
    for index in np.flatnonzero(errors[0] + errors[1]):
        requests = int(canary[index])
        evidence = add_block(evidence, **block(requests, int(errors[0][index]), 100 - requests, int(errors[1][index])))
        if evidence.e_value >= ROLLBACK_E_VALUE:
            return int(canary[: index + 1].sum())
    return None


@pytest.mark.slow
def test_a_broken_canary_is_found_as_fast_as_documented() -> None:
    """For 2 % against 0.1 % at a share of 5 %, it takes 193 canary requests on average and 444 at the 95th percentile."""
    rng = np.random.default_rng(42)
    needed = [canary_requests_until_rollback(rng, canary_rate=0.02, stable_rate=0.001, max_blocks=2000) for _ in range(4000)]
    assert None not in needed
    assert np.mean(needed) == pytest.approx(193, abs=12)
    assert np.quantile(needed, 0.95) == pytest.approx(444, abs=30)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.02])
def test_a_canary_that_is_no_worse_is_rarely_rolled_back(rate: float) -> None:
    """The limit is 1 %, both for a healthy canary and in an incident of both releases. It happens in about 0.4 %."""
    rng = np.random.default_rng(43)
    max_blocks = 1000 if rate < 0.01 else 100
    rolled_back = [
        canary_requests_until_rollback(rng, canary_rate=rate, stable_rate=rate, max_blocks=max_blocks) is not None
        for _ in range(1500)
    ]
    assert np.mean(rolled_back) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("mean_size", [3, 5, 10])
def test_bursts_of_any_size_within_a_block_roll_no_healthy_canary_back(mean_size: int) -> None:
    """When each error counted on its own, 8 % were rolled back at a mean of 3, and more at 5."""
    rng = np.random.default_rng(45)
    rolled_back = 0
    for _ in range(1500):
        evidence = start_evidence()
        for size, hits_canary in zip(rng.geometric(1 / mean_size, 60).tolist(), (rng.random(60) < 0.05).tolist(), strict=True):
            canary, stable = (size, 0) if hits_canary else (0, size)
            evidence = add_block(evidence, **block(200, canary, 3800, stable))
            if evidence.e_value >= ROLLBACK_E_VALUE:
                rolled_back += 1
                break
    assert rolled_back / 1500 <= 0.01
