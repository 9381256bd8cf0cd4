"""Intervals of error rates against their definitions, and the upper bound of a difference against exact enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from sluice.statistics.proportions import (
    binomial_p_value,
    bounded_mean_interval,
    clopper_pearson_interval,
    upper_bound_difference,
    wilson_interval,
)

counts = st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
levels = st.floats(0.5, 0.9999)


@given(counts, levels)
def test_intervals_equal_those_of_scipy(count: tuple[int, int], level: float) -> None:
    for interval, method in ((wilson_interval, "wilson"), (clopper_pearson_interval, "exact")):
        ours = interval(*count, level=level)
        theirs = binomtest(*count).proportion_ci(level, method=method)
        assert ours.low == pytest.approx(theirs.low, abs=1e-9)
        assert ours.high == pytest.approx(theirs.high, abs=1e-9)
        assert 0 <= ours.low <= count[0] / count[1] <= ours.high <= 1
        assert ours.level == level


def test_without_trials_the_interval_is_zero_to_one() -> None:
    for interval in (wilson_interval(0, 0), clopper_pearson_interval(0, 0)):
        assert (interval.low, interval.high) == (0, 1)


def test_the_interval_of_all_or_no_successes_reaches_the_end() -> None:
    for interval in (wilson_interval, clopper_pearson_interval):
        assert interval(0, 7).low == 0
        assert interval(7, 7).high == 1
        assert 0 < interval(0, 7).high < 1
        assert 0 < interval(7, 7).low < 1


@pytest.mark.parametrize("count", [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_an_error(count: tuple[int, int]) -> None:
    for function in (wilson_interval, clopper_pearson_interval):
        with pytest.raises(ValueError, match="counts must satisfy"):
            function(*count)
    for arguments in ((*count, 1, 10), (1, 10, *count)):
        with pytest.raises(ValueError, match="counts must satisfy"):
            upper_bound_difference(*arguments)
    with pytest.raises(ValueError, match="level"):
        upper_bound_difference(0, 1, 0, 1, level=1)


@pytest.mark.parametrize(("requests", "margin", "bound"), [(60, 0.05, 0.0487), (300, 0.01, 0.00994)])
def test_a_canary_without_errors_passes_the_first_interim_look(requests: int, margin: float, bound: float) -> None:
    for stable in (1, 19 * requests, 10**6):
        upper = upper_bound_difference(0, requests, 0, stable)
        assert upper == pytest.approx(1 - 0.05 ** (1 / requests), abs=1e-12)
        assert upper == pytest.approx(bound, abs=5e-5)
        assert upper < margin


def test_one_request_fewer_would_not_pass() -> None:
    assert upper_bound_difference(0, 58, 0, 1000) > 0.05
    assert upper_bound_difference(0, 298, 0, 6000) > 0.01


def test_a_canary_without_requests_has_the_bound_one() -> None:
    assert upper_bound_difference(0, 0, 5, 10) == 1
    assert upper_bound_difference(3, 3, 0, 10) == 1


def test_without_stable_requests_the_canary_is_compared_with_zero() -> None:
    assert upper_bound_difference(2, 300, 0, 0) == pytest.approx(clopper_pearson_interval(2, 300, level=0.9).high)


@given(counts, counts)
def test_the_bound_lies_between_the_estimate_and_the_canarys_own_limit(a: tuple[int, int], b: tuple[int, int]) -> None:
    upper = upper_bound_difference(*a, *b)
    assert a[0] / a[1] - b[0] / b[1] - 1e-12 <= upper <= clopper_pearson_interval(*a, level=0.9).high + 1e-12


@given(counts, counts)
def test_one_more_error_of_the_canary_raises_the_bound(a: tuple[int, int], b: tuple[int, int]) -> None:
    if a[0] < a[1]:
        assert upper_bound_difference(a[0] + 1, a[1], *b) >= upper_bound_difference(*a, *b)


@pytest.mark.parametrize("rates", [(0.001, 0.001), (0.02, 0.001), (0.011, 0.001), (0.06, 0.05), (0.02, 0.02), (0.3, 0.2)])
@pytest.mark.parametrize("trials", [(60, 60), (60, 1140), (300, 900)])
def test_the_bound_has_its_coverage_by_exact_enumeration(rates: tuple[float, float], trials: tuple[int, int]) -> None:
    """Sum the probability, over every relevant pair of counts, that the bound lies at or above the true difference."""
    truth = rates[0] - rates[1]
    covered = 0.0
    weights = [binom.pmf(np.arange(n + 1), n, rate) for n, rate in zip(trials, rates, strict=True)]
    for b in np.flatnonzero(weights[1] > 1e-7):
        # The bound rises with a's errors, so the first count that covers is searched.
        low, high = 0, trials[0]
        while low < high:
            middle = (low + high) // 2
            if upper_bound_difference(middle, trials[0], int(b), trials[1]) >= truth:
                high = middle
            else:
                low = middle + 1
        covered += weights[1][b] * weights[0][low:].sum()
    assert covered >= 0.95


@given(counts, levels)
def test_the_interval_of_a_bounded_mean_is_only_a_little_wider_than_that_of_a_share(count: tuple[int, int], level: float) -> None:
    """Values of 0 and 1 are the widest there are: the exact interval of their share lies within the bound."""
    interval, exact = bounded_mean_interval(*count, level=level), clopper_pearson_interval(*count, level=level)
    assert 0 <= interval.low <= exact.low + 1e-9
    assert exact.high - 1e-9 <= interval.high <= 1
    tail, trials = (1 - level) / 2, count[1]
    for end in (interval.low, interval.high):
        distance = abs(end - count[0] / trials)
        assert distance <= (np.log(1 / tail) / (2 * trials)) ** 0.5 + 1e-9, (
            "by Pinsker's inequality, the interval must not be wider than Hoeffding's simple bound"
        )


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.5])
def test_the_interval_of_a_bounded_mean_covers_any_distribution(mean: float) -> None:
    random, missed = np.random.default_rng(1), 0
    for _ in range(2000):
        values = random.beta(mean * 0.5, (1 - mean) * 0.5, size=100)
        interval = bounded_mean_interval(float(values.sum()), 100, level=0.9)
        missed += not interval.low <= mean <= interval.high
    assert missed <= 200


def test_a_bounded_mean_without_values_or_with_an_impossible_sum() -> None:
    assert (bounded_mean_interval(0.0, 0).low, bounded_mean_interval(0.0, 0).high) == (0.0, 1.0)
    assert bounded_mean_interval(0.0, 100).low == 0.0
    assert bounded_mean_interval(100.0, 100).high == 1.0
    for total, n in ((-0.1, 5), (5.1, 5), (float("nan"), 5)):
        with pytest.raises(ValueError, match="sum of"):
            bounded_mean_interval(total, n)


@given(counts, st.floats(0.01, 0.99))
def test_the_p_value_is_twice_the_smaller_tail(count: tuple[int, int], share: float) -> None:
    successes, trials = count
    lower, upper = binom.cdf(successes, trials, share), binom.sf(successes - 1, trials, share)
    assert binomial_p_value(successes, trials, share) == pytest.approx(min(1.0, 2 * min(lower, upper)), rel=1e-6, abs=1e-300)


def test_the_p_value_at_the_ends() -> None:
    assert binomial_p_value(0, 0, 0.5) == binomial_p_value(7, 7, 1.0) == binomial_p_value(0, 7, 0.0) == 1.0
    assert binomial_p_value(1, 7, 0.0) == 0.0
    with pytest.raises(ValueError, match="share"):
        binomial_p_value(1, 7, 1.5)
