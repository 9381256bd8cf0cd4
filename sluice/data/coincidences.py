"""How many equal contents in a holdout and in other data are a coincidence, and how improbable a larger number is.

Two models of a coincidence are used. Both assume that no row was copied, and judge each label separately, because a holdout may
have been stratified by the label.

- `explain_by_chance`: it is random which rows of equal content are in the holdout. A content that occurs k times in both
  together lies on both sides with the probability 1 - f**k - (1 - f)**k, where f is the holdout's share of all rows. The bound
  is Chernoff's, for a sum of independent events (Hoeffding, 1963). Rows that repeat in the training data alone make k larger.
- `explain_by_holdout`: the holdout alone says how often rows repeat, and nobody can influence it by repeating training rows. If
  content c occurs in the holdout with the Poisson rate a, and b times as many rows are in the other data, then it occurs once
  in the holdout and also in the other data with the probability exp(-a) a (1 - exp(-a b)), which is at most 2 b times the
  probability exp(-a) a**2 / 2 that it occurs twice in the holdout. So the two numbers of contents are compared by a binomial
  test with the share 2 b / (1 + 2 b) (the first term of Good and Toulmin's extrapolation, 1956).

Contents are counted, not rows, because a change of the world moves many rows of few frequent contents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_EXPONENTS = np.linspace(0.0, 12.0, 241)


@dataclass(frozen=True, slots=True)
class Groups:
    """The contents of one label on both sides.

    Attributes:
        share: The holdout's share of the rows with this label.
        shared: The number of contents that are on both sides.
        sizes: The number of rows of each content on both sides together, shape (contents,).
    """

    share: float
    shared: int
    sizes: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HoldoutGroups:
    """The contents of one label in the holdout.

    Attributes:
        ratio: The number of other rows with this label for each holdout row with it.
        single: The number of contents with one holdout row.
        shared: How many of the single ones are in the other data too.
        double: The number of contents with two holdout rows.
        several: The number of contents with two or more holdout rows.
    """

    ratio: float
    single: int
    shared: int
    double: int
    several: int


@dataclass(frozen=True, slots=True)
class Chance:
    """What chance explains.

    Attributes:
        expected: The number of shared contents that it explains.
        bound: An upper bound of the probability that it gives at least as many as there are.
    """

    expected: float
    bound: float


def explain_by_chance(groups: Sequence[Groups]) -> Chance:
    """Return how many shared contents chance explains if it is random which of the equal rows are in the holdout."""
    found = sum(group.shared for group in groups)
    probabilities, counts = [np.empty(0)], [np.empty(0, dtype=np.intp)]
    for group in groups:
        sizes, number = np.unique(group.sizes[group.sizes > 1], return_counts=True)
        probabilities.append(1 - group.share**sizes - (1 - group.share) ** sizes)
        counts.append(number)
    p, m = np.concatenate(probabilities), np.concatenate(counts)
    # Markov's inequality for exp(t X), with the best t of a grid. Every t gives a valid bound.
    logarithms = (m[:, None] * np.log1p(p[:, None] * np.expm1(_EXPONENTS))).sum(axis=0) - found * _EXPONENTS
    return Chance(expected=float((m * p).sum()), bound=min(1.0, math.exp(float(logarithms.min()))))


def explain_by_holdout(groups: Sequence[HoldoutGroups]) -> Chance:
    """Return how many shared contents chance explains if rows repeat as often as they do in the holdout."""
    expected, bound = 0.0, 1.0
    for group in groups:
        odds = 2 * group.ratio
        expected += group.several + min(group.single, odds * group.double)
        chance = float(binom.sf(group.shared - 1, group.shared + group.double, odds / (1 + odds)))
        bound = min(bound, chance * len(groups))  # Bonferroni
    return Chance(expected=expected, bound=bound)
