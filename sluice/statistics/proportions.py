"""Error rates and other shares: intervals of one, and an upper bound of the difference of two."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri, rel_entr

from sluice.statistics.samples import check_level
from sluice.verdicts import Interval


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Two-sided score interval of a share (Wilson, JASA 1927): close to its coverage on average.

    No trials say nothing: the interval is [0, 1].

    Raises:
        ValueError: Counts that are negative or more successes than trials, or a level outside (0, 1).
    """
    check_level(level)
    _check_counts(successes, trials)
    if trials == 0:
        return Interval(0.0, 1.0, level, "Wilson")
    z = float(ndtri((1 + level) / 2))
    share, weight = successes / trials, z**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == trials else min(1.0, centre + reach)
    return Interval(low, high, level, "Wilson")


def clopper_pearson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Two-sided exact interval of a share (Clopper & Pearson, Biometrika 1934): never covers less than its level.

    No trials say nothing: the interval is [0, 1].

    Raises:
        ValueError: Counts that are negative or more successes than trials, or a level outside (0, 1).
    """
    check_level(level)
    _check_counts(successes, trials)
    tail = (1 - level) / 2
    low, high = _lower_rate(successes, trials, tail), _upper_rate(successes, trials, tail)
    return Interval(low, high, level, "Clopper-Pearson")


def bounded_mean_interval(total: float, n: int, *, level: float = 0.95) -> Interval:
    """Two-sided interval of the mean of values in [0, 1], whatever their distribution (Hoeffding, JASA 1963, theorem 1).

    A mean as far from the true one as the sample's has at most the chance exp(-n KL(sample's, true one)), where KL is that of
    two coins. 0.062 is the upper end at a mean of 0.03 of 300 values. No values say nothing: the interval is [0, 1].

    Args:
        total: Sum of the values.
        n: How many there are.
        level: Coverage, at least.

    Raises:
        ValueError: A sum outside [0, n], or a level outside (0, 1).
    """
    check_level(level)
    if not 0 <= total <= n:
        raise ValueError(f"the sum of {n} values in [0, 1] must lie in [0, {n}], not be {total}")
    if n == 0:
        return Interval(0.0, 1.0, level, "Hoeffding")
    mean, reach = total / n, math.log(2 / (1 - level)) / n

    def excess(true: float) -> float:
        return float(rel_entr(mean, true) + rel_entr(1 - mean, 1 - true)) - reach

    low = float(brentq(excess, 0.0, mean)) if mean > 0 and excess(0.0) > 0 else 0.0
    high = float(brentq(excess, mean, 1.0)) if mean < 1 and excess(1.0) > 0 else 1.0
    return Interval(low, high, level, "Hoeffding")


def upper_bound_difference(errors_a: int, n_a: int, errors_b: int, n_b: int, *, level: float = 0.95) -> float:
    """One-sided upper bound of ``rate_a - rate_b``, for example the canary's error rate minus stable's.

    The one-sided Clopper-Pearson limits of the two rates, joined by MOVER (Zou & Donner, Statistics in Medicine 2008): the
    distance of the bound is the root of the squared distances of a's upper and b's lower limit. Without errors in b it is
    a's upper limit alone: 0.994 % at 0 of 300, 4.87 % at 0 of 60. Without trials in b the bound is that of a against a rate
    of 0; without trials in a it is 1.

    Args:
        errors_a: Errors of a.
        n_a: Trials of a.
        errors_b: Errors of b.
        n_b: Trials of b.
        level: One-sided coverage.

    Returns:
        A difference of rates, in [-1, 1].

    Raises:
        ValueError: Counts that are negative or more errors than trials, or a level outside (0, 1).
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


def _upper_rate(successes: int, trials: int, tail: float) -> float:
    """The rate at which at most `successes` would be seen with chance `tail`."""
    return 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))


def _lower_rate(successes: int, trials: int, tail: float) -> float:
    """The rate at which at least `successes` would be seen with chance `tail`."""
    return 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"counts must satisfy 0 <= {successes} <= {trials}")
