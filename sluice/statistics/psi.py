"""The population stability index (PSI) against a reference that was frozen at training.

PSI is the sum over all bins of (p - q) ln(p / q). Without drift, it is distributed approximately as (1/n + 1/m) chi2(bins - 1)
(Yurdakul, "Statistical properties of PSI", Western Michigan University 2018). With samples of 100 rows, the customary threshold
of 0.2 alone would therefore report drift in 35 % of samples without drift.

In this module, a feature has drifted only if three conditions hold: the PSI is above the threshold, the p-value adjusted over all
features is small, and there are enough rows. The bins are frozen, because a single outlier could hide a shift in bins over both
samples. Missing values have their own bin, because a shift in them would be invisible if they were dropped.

Categories that are rare in both samples together share one bin, whether the reference has them or not. The chi2 distribution
needs about five expected rows in each bin (Cochran, Biometrics 1954). And in a long tail, some categories of the current sample
are new by chance alone: with a bin of their own, 17 of 100 samples without drift gave an alarm. The choice depends only on the
rows of both samples together, so that it does not favour one of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import chi2

from sluice.statistics.multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Floats

_SMOOTHING = 0.5  # Added to the count of each bin, so that an empty bin has a finite logarithm.
_LEAST_EXPECTED = 5  # Rows that a category needs in the smaller sample, if it keeps its share of both samples together.
_MAX_COMPARED = (
    20  # Categories with their own bin. With more bins, samples of 500 rows without drift often exceed an index of 0.2.
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PsiReference:
    """One feature as it was at training.

    Attributes:
        edges: Inner edges of a numeric feature's bins, rising. A value equal to an edge lies in the bin below it. None for
            categories.
        categories: Bin of each known category; None for a numeric feature. Rare categories share a bin.
        counts: Rows per bin. The last bin holds missing values. For categories, the bin before it holds new categories.
    """

    edges: tuple[float, ...] | None
    categories: Mapping[str, int] | None
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows of the reference."""
        return sum(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the reference as plain JSON types. `from_dict` reads them."""
        return {
            "edges": None if self.edges is None else list(self.edges),
            "categories": None if self.categories is None else dict(self.categories),
            "counts": list(self.counts),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: A field is missing.
            ValueError: The fields do not fit together.
        """
        edges, categories, counts = values["edges"], values["categories"], tuple(values["counts"])
        if (edges is None) == (categories is None):
            raise ValueError("a reference has either edges or categories")
        own = len(edges) + 1 if edges is not None else max(categories.values(), default=-1) + 2
        if len(counts) != own + 1:
            raise ValueError(f"{len(counts)} counts for {own + 1} bins")
        return cls(edges=None if edges is None else tuple(edges), categories=categories, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PsiEstimate:
    """How far one feature has moved.

    Attributes:
        psi: The index, at least 0.
        p_value: Probability of an index at least as large without drift.
        bins: Number of bins with a row of either sample.
        rows: Rows of the current sample.
        reference_rows: Rows of the reference.
        missing: Share of missing values in the current sample.
        new: Share of new categories in the current sample; 0 for a numeric feature.
    """

    psi: float
    p_value: float
    bins: int
    rows: int
    reference_rows: int
    missing: float
    new: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """The result for one feature among those that were compared together.

    Attributes:
        estimate: The index of this feature.
        adjusted_p: p-value adjusted over all features (Benjamini-Hochberg).
        drifted: Whether the index and the adjusted p-value are beyond their limits and there are enough rows.
        conclusive: Whether there is a result. There is none if there are too few rows, or if the index is above its limit and
            this may still be chance.
    """

    estimate: PsiEstimate
    adjusted_p: float
    drifted: bool
    conclusive: bool


def build_numeric_reference(values: ArrayLike, *, bins: int = 10) -> PsiReference:
    """Return quantile bins of a numeric feature. The outer bins are open, and NaN has its own bin.

    Equal edges are merged. A value that is so frequent that several edges fall on it has its own bin.

    Args:
        values: Shape (rows,), numbers. Infinite values lie in the outer bins.
        bins: Number of quantile bins, at least 2.

    Raises:
        ValueError: All values are NaN, the shape is wrong, or there are fewer than two bins.
    """
    if bins < 2:  # noqa: PLR2004 - with one bin, nothing can move
        raise ValueError(f"there must be at least two bins, not {bins}")
    numbers = _read_numbers(values)
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        raise ValueError("a reference needs at least one value that is not missing")
    frozen = PsiReference(edges=tuple(_quantile_edges(present, bins).tolist()), categories=None, counts=())
    return dataclasses.replace(frozen, counts=count_numbers(frozen, numbers))


def freeze_categories(counted: Mapping[str | None, int], *, max_categories: int = 1000) -> PsiReference:
    """Return one bin for each category, one for new categories and one for missing values.

    Args:
        counted: Category → its rows; None counts the missing values.
        max_categories: Largest number of categories with their own bin. These are the most frequent ones, and the others share
            one bin.

    Raises:
        ValueError: There is no category, or `max_categories` is below 1.
    """
    if max_categories < 1:
        raise ValueError(f"there must be at least one category with a bin of its own, not {max_categories}")
    ranked = sorted((name for name in counted if name is not None), key=lambda name: (-counted[name], name))
    if not ranked:
        raise ValueError("a reference needs at least one value that is not missing")
    frozen = PsiReference(edges=None, categories={name: min(rank, max_categories) for rank, name in enumerate(ranked)}, counts=())
    return dataclasses.replace(frozen, counts=count_categories(frozen, counted))


def estimate_psi(reference: PsiReference, values: ArrayLike) -> PsiEstimate:
    """Compare a sample of numbers with the frozen reference. `compare_counts` says how.

    Args:
        reference: The numeric feature at training.
        values: Shape (rows,), numbers.

    Raises:
        ValueError: There are no rows, the shape is wrong, or the values are not numbers.
    """
    return compare_counts(reference, count_numbers(reference, _read_numbers(values)))


def compare_counts(reference: PsiReference, counts: Sequence[int], *, new: Sequence[int] = ()) -> PsiEstimate:
    """Compare a sample that is already counted in the reference's bins with the reference.

    Categories with fewer than five expected rows in the smaller sample share one bin, and so do all but the 20 most frequent
    ones. In each bin that then holds a row of either sample, both samples get half a row more, so that a bin that is empty in one
    of them has a finite share. The p-value comes from chi2 with one degree of freedom fewer than the number of these bins.

    Args:
        reference: The feature at training.
        counts: Rows per bin, as `count_numbers` and `count_categories` return them, or sums of them.
        new: Rows of new categories, as far as they are known one by one. The others count as rare.

    Raises:
        ValueError: There are no rows, the number of bins is wrong, or the new categories have too many rows.
    """
    if len(counts) != len(reference.counts):
        raise ValueError(f"{len(counts)} counts for {len(reference.counts)} bins")
    rows = sum(counts)
    if rows == 0 or reference.rows == 0:
        raise ValueError("a sample without rows has no stability index")
    before, after = np.asarray(reference.counts, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if reference.categories is not None:
        before, after = _pool_rare(before, after, new)
    held = before + after > 0
    share_before, share_after = _smooth(before[held]), _smooth(after[held])
    psi = float(np.sum((share_after - share_before) * np.log(share_after / share_before)))
    bins = int(np.count_nonzero(held))
    scale = 1 / rows + 1 / reference.rows
    return PsiEstimate(
        psi=max(0.0, psi),
        p_value=float(chi2.sf(psi / scale, bins - 1)) if bins > 1 else 1.0,
        bins=bins,
        rows=rows,
        reference_rows=reference.rows,
        missing=counts[-1] / rows,
        new=counts[-2] / rows if reference.categories is not None else 0.0,
    )


def compare_features(
    estimates: Mapping[str, PsiEstimate], *, threshold: float = 0.2, alpha: float = 0.01, least_rows: int = 500
) -> dict[str, FeatureDrift]:
    """Return which of several features have drifted. The p-values are adjusted over all of them.

    Args:
        estimates: Feature → its index.
        threshold: The index must be above this, because with many rows even an unimportant shift is significant.
        alpha: The adjusted p-value must be below this.
        least_rows: If the sample or the reference has fewer rows, no feature has drifted and none is conclusive.
    """
    adjusted = benjamini_hochberg([estimate.p_value for estimate in estimates.values()])
    features = {}
    for (name, estimate), p_value in zip(estimates.items(), adjusted.tolist(), strict=True):
        enough = min(estimate.rows, estimate.reference_rows) >= least_rows
        above, significant = estimate.psi > threshold, p_value < alpha
        drifted, conclusive = enough and above and significant, enough and (significant or not above)
        features[name] = FeatureDrift(estimate=estimate, adjusted_p=p_value, drifted=drifted, conclusive=conclusive)
    return features


def _quantile_edges(present: Floats, bins: int) -> Floats:
    """Return the inner bin edges, at the quantiles of the reference values. All are finite, so that JSON can hold them."""
    # Each quantile is an observed value, because an interpolation between infinities would be NaN.
    quantiles = np.quantile(present, np.arange(1, bins) / bins, method="inverted_cdf")
    values, times = np.unique(quantiles, return_counts=True)
    # A value that fills a whole bin gets its own bin. Otherwise, new values just below it would be counted with it.
    below = np.nextafter(values[times > 1], -np.inf)
    limits = np.finfo(np.float64)
    return np.asarray(np.unique(np.clip(np.append(values, below), limits.min, limits.max)), dtype=np.float64)


def _smooth(counts: Floats) -> Floats:
    smoothed = counts + _SMOOTHING
    return np.asarray(smoothed / smoothed.sum(), dtype=np.float64)


def _pool_rare(before: Floats, after: Floats, new: Sequence[int]) -> tuple[Floats, Floats]:
    """Return the counts of both samples: one bin for each frequent category, known or new, then the rare ones and the missing."""
    if sum(new) > after[-2]:
        raise ValueError(f"{sum(new)} rows of new categories, but {int(after[-2])} rows in their bin")
    before = np.concatenate([before[:-2], np.zeros(len(new)), before[-2:]])
    after = np.concatenate([after[:-2], new, [after[-2] - sum(new), after[-1]]])
    together = before + after
    expected = together * min(before.sum(), after.sum()) / together.sum()
    frequent = expected[:-2] >= _LEAST_EXPECTED
    most = np.argsort(-together[:-2], kind="stable")[:_MAX_COMPARED]
    kept = np.zeros(frequent.size, dtype=np.bool_)
    kept[most] = frequent[most]

    def pool(counts: Floats) -> Floats:
        return np.concatenate([counts[:-2][kept], [counts[:-2][~kept].sum() + counts[-2], counts[-1]]])

    return pool(before), pool(after)


def count_numbers(reference: PsiReference, numbers: Floats) -> tuple[int, ...]:
    """Return the rows per bin of a numeric reference. NaN is a missing value.

    Counting the rows at or below each edge takes a tenth of the time of searching the bin of each row.

    Args:
        reference: A numeric reference.
        numbers: Shape (rows,).
    """
    present = numbers.size - int(np.count_nonzero(np.isnan(numbers)))
    at_or_below = [int(np.count_nonzero(numbers <= edge)) for edge in reference.edges or ()]
    return (*np.diff([0, *at_or_below, present]).tolist(), numbers.size - present)


def count_categories(reference: PsiReference, counted: Mapping[str | None, int]) -> tuple[int, ...]:
    """Return the rows per bin of a reference with categories.

    Args:
        reference: A reference with categories.
        counted: Category → its rows; None counts the missing values.
    """
    bins = reference.categories or {}
    own = max(bins.values()) + 1
    counts = [0] * (own + 2)
    for name, rows in counted.items():
        counts[own + 1 if name is None else bins.get(name, own)] += rows
    return tuple(counts)


def _read_numbers(values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values must have one dimension, not {numbers.ndim}")
    return numbers
