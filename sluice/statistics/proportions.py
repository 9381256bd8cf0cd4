"""Error rates and other shares: the interval of one share, and an upper bound for the difference of two."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import bdtr, bdtrc, betaincinv, ndtri, rel_entr

from sluice.statistics.samples import check_level
from sluice.verdicts import Interval


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Return the two-sided score interval of a share (Wilson, JASA 1927). On average, its coverage is close to the level.

    Without trials, nothing is known, and the interval is [0, 1].

    Raises:
        ValueError: A count is negative, there are more successes than trials, or the level lies outside (0, 1).
    """
    check_level(level)
    _check_counts(successes, trials)
    if trials == 0:
        return Interval(0.0, 1.0, level, "Wilson")
    z = float(ndtri((1 + level) / 2))
    share, weight = successes / trials, z**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    half_width = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    low = 0.0 if successes == 0 else max(0.0, centre - half_width)
    high = 1.0 if successes == trials else min(1.0, centre + half_width)
    return Interval(low, high, level, "Wilson")


def clopper_pearson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Return the two-sided exact interval of a share (Clopper & Pearson, Biometrika 1934).

    Its coverage is never below the level. Without trials, nothing is known, and the interval is [0, 1].

    Raises:
        ValueError: A count is negative, there are more successes than trials, or the level lies outside (0, 1).
    """
    check_level(level)
    _check_counts(successes, trials)
    tail = (1 - level) / 2
    low, high = _lower_rate(successes, trials, tail), _upper_rate(successes, trials, tail)
    return Interval(low, high, level, "Clopper-Pearson")


def bounded_mean_interval(total: float, n: int, *, level: float = 0.95) -> Interval:
    """Return a two-sided interval for the mean of values in [0, 1] of any distribution (Hoeffding, JASA 1963, theorem 1).

    The probability that the sample mean differs from the true mean by this much is at most exp(-n KL(sample mean, true mean)). KL
    is the Kullback-Leibler divergence of two Bernoulli distributions. For example, the upper end is 0.062 for 300 values with a
    mean of 0.03. Without values, nothing is known, and the interval is [0, 1].

    Args:
        total: Sum of the values.
        n: Number of values.
        level: Smallest coverage.

    Raises:
        ValueError: The sum lies outside [0, n], or the level lies outside (0, 1).
    """
    check_level(level)
    if not 0 <= total <= n:
        raise ValueError(f"the sum of {n} values in [0, 1] must lie in [0, {n}], not be {total}")
    if n == 0:
        return Interval(0.0, 1.0, level, "Hoeffding")
    mean, half_width = total / n, math.log(2 / (1 - level)) / n

    def excess(true: float) -> float:
        return float(rel_entr(mean, true) + rel_entr(1 - mean, 1 - true)) - half_width

    low = float(brentq(excess, 0.0, mean)) if mean > 0 and excess(0.0) > 0 else 0.0
    high = float(brentq(excess, mean, 1.0)) if mean < 1 and excess(1.0) > 0 else 1.0
    return Interval(low, high, level, "Hoeffding")


def upper_bound_difference(errors_a: int, n_a: int, errors_b: int, n_b: int, *, level: float = 0.95) -> float:
    """Return a one-sided upper bound of ``rate_a - rate_b``, for example of the canary's error rate minus stable's.

    The bound combines the one-sided Clopper-Pearson limits of the two rates by MOVER (Zou & Donner, Statistics in Medicine 2008):
    the distance between the difference and its bound is the square root of the sum of two squared distances, that of a's upper
    limit and that of b's lower limit. If b has no errors, the bound is a's upper limit: 0.994 % at 0 of 300, 4.87 % at 0 of 60.
    If b has no trials, a is compared with a rate of 0. If a has no trials, the bound is 1.

    Args:
        errors_a: Errors of a.
        n_a: Trials of a.
        errors_b: Errors of b.
        n_b: Trials of b.
        level: One-sided coverage.

    Returns:
        A difference of rates, in [-1, 1].

    Raises:
        ValueError: A count is negative, there are more errors than trials, or the level lies outside (0, 1).
    """
    check_level(level)
    _check_counts(errors_a, n_a)
    _check_counts(errors_b, n_b)
    if n_a == 0:
        return 1.0
    rate_a, rate_b = errors_a / n_a, errors_b / n_b if n_b else 0.0
    above = _upper_rate(errors_a, n_a, 1 - level) - rate_a
    below = rate_b - _lower_rate(errors_b, n_b, 1 - level)
    return min(1.0, rate_a - rate_b + math.hypot(above, below))


def binomial_p_value(successes: int, trials: int, share: float) -> float:
    """Return the two-sided p-value of an exact binomial test: twice the smaller tail (Clopper & Pearson, Biometrika 1934).

    Args:
        successes: What was observed.
        trials: Out of how many. Without trials, the p-value is 1.
        share: The share under the null hypothesis, in [0, 1].

    Raises:
        ValueError: A count is negative, there are more successes than trials, or the share lies outside [0, 1].
    """
    _check_counts(successes, trials)
    if not 0 <= share <= 1:
        raise ValueError(f"the share must lie in [0, 1], not be {share}")
    at_least = float(bdtrc(successes - 1, trials, share)) if successes else 1.0
    return min(1.0, 2 * min(float(bdtr(successes, trials, share)), at_least))


def _upper_rate(successes: int, trials: int, tail: float) -> float:
    """Return the rate at which at most `successes` would be observed with probability `tail`."""
    return 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))


def _lower_rate(successes: int, trials: int, tail: float) -> float:
    """Return the rate at which at least `successes` would be observed with probability `tail`."""
    return 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"the counts must satisfy 0 <= {successes} <= {trials}")
