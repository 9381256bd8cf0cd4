"""Several tests at once: adjusted p-values, each to be compared with the level of all tests together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Floats


def holm(p_values: ArrayLike) -> Floats:
    """Return adjusted p-values, in the given order, that limit the probability of any false alarm.

    Holm, Scandinavian Journal of Statistics 1979. The method is valid for any dependence of the tests, and never weaker than
    Bonferroni.

    Args:
        p_values: Shape (tests,), each in [0, 1]; may be empty.

    Raises:
        ValueError: The values are not a list of p-values.
    """
    values = _read_p_values(p_values)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return adjusted p-values, in the given order, that limit the expected share of false alarms among the alarms.

    Benjamini & Hochberg, Journal of the Royal Statistical Society B 1995.

    Args:
        p_values: Shape (tests,), each in [0, 1]; may be empty.

    Raises:
        ValueError: The values are not a list of p-values.
    """
    values = _read_p_values(p_values)
    return np.asarray(false_discovery_control(values, method="bh"), dtype=np.float64) if values.size else values


def _read_p_values(p_values: ArrayLike) -> Floats:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("p-values must be a list of numbers between 0 and 1")
    return values
