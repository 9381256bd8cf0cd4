"""Population stability index against a reference that was frozen at training.

PSI = sum over bins of (p - q) ln(p / q). Without drift it is about (1/n + 1/m) chi2(bins - 1) (Yurdakul, "Statistical
properties of PSI", Western Michigan University 2018), so that the customary 0.2 alone fires on 35 % of samples of 100 rows.
Here a feature has drifted only when PSI is above the threshold, the p-value adjusted over all features is small, and there
are enough rows. Bins are frozen because bins over both samples let one outlier hide a shift; missing values and new
categories have bins of their own because dropping them hides theirs.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import chi2

from sluice.statistics.multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from sluice.statistics.samples import Floats

_SMOOTHING = 0.5  # added to the count of each bin, so that an empty bin has a finite logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class PsiReference:
    """One feature as it was at training.

    Attributes:
        edges: Inner edges of a numeric feature's bins, rising; a value equal to an edge lies below it. None for categories.
        categories: Bin of each known category; None for a numeric feature. Rare categories share a bin.
        counts: Rows per bin; the last bin holds missing values and, for categories, the one before it holds new categories.
    """

    edges: tuple[float, ...] | None
    categories: Mapping[str, int] | None
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows that the reference was made of."""
        return sum(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
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
        p_value: Chance of an index at least as large without drift.
        bins: Bins that hold a row of either sample.
        rows: Rows of the current sample.
        missing: Share of missing values in the current sample.
        new: Share of new categories in it; 0 for a numeric feature.
    """

    psi: float
    p_value: float
    bins: int
    rows: int
    missing: float
    new: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature's answer among those that were tested together.

    Attributes:
        estimate: The feature alone.
        adjusted_p: p-value adjusted over all features (Benjamini-Hochberg).
        drifted: Index, adjusted p-value and rows are all beyond their limits.
        conclusive: There are enough rows to say either.
    """

    estimate: PsiEstimate
    adjusted_p: float
    drifted: bool
    conclusive: bool


def freeze_numeric(values: ArrayLike, *, bins: int = 10) -> PsiReference:
    """Quantile bins of a numeric feature: the outer ones are open, NaN has a bin of its own.

    Equal edges are merged, and a value so frequent that edges met at it has a bin of its own.

    Args:
        values: Shape (rows,), numbers; infinite ones lie in the outer bins.
        bins: Quantile bins, at least 2.

    Raises:
        ValueError: No value that is not NaN, another shape, or fewer than two bins.
    """
    if bins < 2:  # noqa: PLR2004 - one bin cannot move
        raise ValueError(f"there must be at least two bins, not {bins}")
    numbers = _read_numbers(values)
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        raise ValueError("a reference needs at least one value that is not missing")
    frozen = PsiReference(edges=tuple(_quantile_edges(present, bins).tolist()), categories=None, counts=())
    return dataclasses.replace(frozen, counts=_count_numbers(frozen, numbers))


def freeze_categories(values: ArrayLike, *, most: int = 50) -> PsiReference:
    """A bin per category, one for new categories and one for missing values.

    Args:
        values: Shape (rows,), strings, booleans or numbers; None and NaN are missing. A whole number means the same as
            float and as int.
        most: Categories at most that have a bin of their own, the most frequent; the others share one.

    Raises:
        ValueError: No value that is not missing, another shape, or no category of its own.
    """
    if most < 1:
        raise ValueError(f"there must be at least one category with a bin of its own, not {most}")
    counted = _count_categories(values)
    counted.pop(None, None)
    if not counted:
        raise ValueError("a reference needs at least one value that is not missing")
    ranked = sorted((name for name in counted if name is not None), key=lambda name: (-counted[name], name))
    frozen = PsiReference(edges=None, categories={name: min(rank, most) for rank, name in enumerate(ranked)}, counts=())
    return dataclasses.replace(frozen, counts=_count_known(frozen, _count_categories(values)))


def estimate_psi(reference: PsiReference, values: ArrayLike) -> PsiEstimate:
    """Hold a sample against the frozen reference.

    Both samples get half a row more in each bin that holds any, so that a bin that is empty in one of them has a finite
    share. The p-value is taken from chi2 with one degree of freedom less than such bins.

    Args:
        reference: The feature at training.
        values: Shape (rows,), of the same kind as the reference's.

    Raises:
        ValueError: No rows, another shape, or values that are not numbers for a numeric reference.
    """
    counts = _count_rows(reference, values)
    rows = sum(counts)
    if rows == 0:
        raise ValueError("a sample without rows has no index")
    before, after = np.asarray(reference.counts, dtype=np.float64), np.asarray(counts, dtype=np.float64)
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
        missing=counts[-1] / rows,
        new=counts[-2] / rows if reference.categories is not None else 0.0,
    )


def compare_features(
    estimates: Mapping[str, PsiEstimate], *, threshold: float = 0.2, alpha: float = 0.01, least_rows: int = 500
) -> dict[str, FeatureDrift]:
    """Which of several features have drifted, with p-values adjusted over all of them.

    Args:
        estimates: Feature → its index.
        threshold: The index must be above it: with many rows, a shift too small to matter is significant too.
        alpha: The adjusted p-value must be below it.
        least_rows: With fewer rows nothing has drifted, and nothing is conclusive.
    """
    adjusted = benjamini_hochberg([estimate.p_value for estimate in estimates.values()])
    answers = {}
    for (name, estimate), p_value in zip(estimates.items(), adjusted.tolist(), strict=True):
        conclusive = estimate.rows >= least_rows
        drifted = conclusive and estimate.psi > threshold and p_value < alpha
        answers[name] = FeatureDrift(estimate=estimate, adjusted_p=p_value, drifted=drifted, conclusive=conclusive)
    return answers


def _quantile_edges(present: Floats, bins: int) -> Floats:
    """Inner edges at quantiles, all finite so that JSON can hold them."""
    # An observed value each time, never one between two: interpolation between infinities would be NaN.
    quantiles = np.quantile(present, np.arange(1, bins) / bins, method="inverted_cdf")
    values, times = np.unique(quantiles, return_counts=True)
    # A value that fills a whole bin gets one of its own: else what newly lies just below it would be taken for it.
    below = np.nextafter(values[times > 1], -np.inf)
    limits = np.finfo(np.float64)
    return np.asarray(np.unique(np.clip(np.append(values, below), limits.min, limits.max)), dtype=np.float64)


def _smooth(counts: Floats) -> Floats:
    smoothed = counts + _SMOOTHING
    return np.asarray(smoothed / smoothed.sum(), dtype=np.float64)


def _count_rows(reference: PsiReference, values: ArrayLike) -> tuple[int, ...]:
    if reference.edges is not None:
        return _count_numbers(reference, _read_numbers(values))
    return _count_known(reference, _count_categories(values))


def _count_numbers(reference: PsiReference, numbers: Floats) -> tuple[int, ...]:
    """Rows per bin; the differences of the counts at or below each edge take a tenth of the time of a search per row."""
    present = numbers.size - int(np.count_nonzero(np.isnan(numbers)))
    at_or_below = [int(np.count_nonzero(numbers <= edge)) for edge in reference.edges or ()]
    return (*np.diff([0, *at_or_below, present]).tolist(), numbers.size - present)


def _count_known(reference: PsiReference, counted: Mapping[str | None, int]) -> tuple[int, ...]:
    bins = reference.categories or {}
    own = max(bins.values()) + 1
    counts = [0] * (own + 2)
    for name, rows in counted.items():
        counts[own + 1 if name is None else bins.get(name, own)] += rows
    return tuple(counts)


def _count_categories(values: ArrayLike) -> Counter[str | None]:
    """Rows per category; None counts the missing ones."""
    column = np.asarray(values, dtype=object)
    if column.ndim != 1:
        raise ValueError(f"values must have one dimension, not {column.ndim}")
    counted: Counter[str | None] = Counter()
    for value, rows in Counter(column.tolist()).items():
        counted[_name_category(value)] += rows
    return counted


def _name_category(value: object) -> str | None:
    """A category's name, None if missing; 3 and 3.0 are one, since a missing value turns a column of ints into floats."""
    equal = value == value  # noqa: PLR0124 - NaN differs from itself, and pandas.NA will not say
    if value is None or not isinstance(equal, bool | np.bool_) or not equal:
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_numbers(values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values must have one dimension, not {numbers.ndim}")
    return numbers
