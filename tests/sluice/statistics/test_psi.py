"""PSI against its definition, the changes that frozen bins must show, and the rate of false alarms without drift."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from sluice.statistics.multiplicity import benjamini_hochberg
from sluice.statistics.psi import (
    PsiEstimate,
    PsiReference,
    build_numeric_reference,
    compare_counts,
    compare_features,
    count_categories,
    estimate_psi,
    freeze_categories,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NORMAL = np.random.default_rng(0).normal(size=20_000)
floats = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, 2.0]))


def freeze(values: Iterable[str | None], *, max_categories: int = 1000) -> PsiReference:
    return freeze_categories(Counter(values), max_categories=max_categories)


def compare(reference: PsiReference, values: Iterable[str | None]) -> PsiEstimate:
    counted = Counter(values)
    new = [rows for name, rows in counted.items() if name is not None and name not in (reference.categories or {})]
    return compare_counts(reference, count_categories(reference, counted), new=new)


def by_definition(before: list[int], after: list[int]) -> float:
    held = [(b + 0.5, a + 0.5) for b, a in zip(before, after, strict=True) if b + a]
    sums = [sum(column) for column in zip(*held, strict=True)]
    return sum((a / sums[1] - b / sums[0]) * math.log(a / sums[1] * sums[0] / b) for b, a in held)


def test_reference_deciles_hold_a_tenth_each() -> None:
    reference = build_numeric_reference(NORMAL)
    assert reference.counts == (*(2000,) * 10, 0)
    assert reference.rows == 20_000
    assert len(reference.edges) == 9


def test_psi_equals_its_definition() -> None:
    reference = build_numeric_reference(NORMAL)
    current = np.append(NORMAL[:3000] + 0.3, [math.nan] * 50)
    counts = [int(np.sum((current > low) & (current <= high))) for low, high in pairwise([-math.inf, *reference.edges, math.inf])]
    estimate = estimate_psi(reference, current)
    assert estimate.psi == pytest.approx(by_definition(list(reference.counts), [*counts, 50]))
    assert estimate.p_value == pytest.approx(chi2.sf(estimate.psi / (1 / 3050 + 1 / 20_000), 10))
    assert (estimate.bins, estimate.rows, estimate.new) == (11, 3050, 0)
    assert estimate.missing == pytest.approx(50 / 3050)


@pytest.mark.parametrize("shift", [0.2, 0.3, 0.44, 0.47, 0.8])
def test_the_index_of_a_shifted_normal_follows_from_its_deciles(shift: float) -> None:
    deciles = norm.ppf(np.linspace(0, 1, 11))
    after = np.diff(norm.cdf(deciles - shift))
    expected = np.sum((after - 0.1) * np.log(after / 0.1))
    grid = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert estimate_psi(build_numeric_reference(grid), grid + shift).psi == pytest.approx(expected, rel=0.01)
    assert (expected > 0.2) == (shift > 0.45)  # The customary limit is a shift of about 0.45 standard deviations.


@given(st.lists(floats, min_size=1), st.lists(floats, min_size=1), st.integers(2, 12))
def test_every_number_falls_into_exactly_one_bin(before: list[float], after: list[float], bins: int) -> None:
    if all(math.isnan(value) for value in before):
        with pytest.raises(ValueError, match="at least one value"):
            build_numeric_reference(before, bins=bins)
        return
    reference = build_numeric_reference(before, bins=bins)
    assert reference.rows == len(before)
    assert list(reference.edges) == sorted(set(reference.edges))
    assert len(reference.counts) == len(reference.edges) + 2 <= 2 * bins
    estimate = estimate_psi(reference, after)
    assert estimate.rows == len(after)
    assert math.isfinite(estimate.psi)
    assert estimate.psi >= 0
    assert 0 <= estimate.p_value <= 1
    assert estimate_psi(reference, before).psi == pytest.approx(0, abs=1e-12)
    assert PsiReference.from_dict(json.loads(json.dumps(reference.to_dict(), allow_nan=False))) == reference


def test_missing_values_have_a_bin_of_their_own() -> None:
    half_gone = NORMAL.copy()
    half_gone[::2] = math.nan
    estimate = estimate_psi(build_numeric_reference(NORMAL), half_gone)
    assert estimate.psi > 1
    assert estimate.missing == 0.5
    assert estimate_psi(build_numeric_reference(half_gone), half_gone).psi == 0
    names = np.array(["a", "b"] * 500, dtype=object)
    gone = names.copy()
    gone[:500] = None
    assert compare(freeze(names), gone).psi > 1


def test_one_outlier_does_not_hide_a_shift() -> None:
    reference = build_numeric_reference(NORMAL)
    shifted = NORMAL + 1
    outlier = np.append(shifted[1:], 1e9)
    assert estimate_psi(reference, outlier).psi == pytest.approx(estimate_psi(reference, shifted).psi, rel=0.01)


def test_a_new_category_has_a_bin_of_its_own() -> None:
    reference = freeze(["monthly"] * 600 + ["annual"] * 400)
    assert reference.counts == (600, 400, 0, 0)
    current = ["monthly"] * 500 + ["annual"] * 300 + ["weekly"] * 200
    estimate = compare(reference, current)
    assert estimate.psi == pytest.approx(by_definition([600, 400, 0, 0], [500, 300, 200, 0]))
    assert (estimate.new, estimate.bins, estimate.missing) == (0.2, 3, 0)
    assert estimate.psi > 0.2


def test_rare_categories_share_a_bin_and_are_not_new() -> None:
    values = ["a"] * 50 + ["b"] * 30 + ["c"] * 2 + ["d"]
    reference = freeze(values, max_categories=2)
    assert reference.counts == (50, 30, 3, 0, 0)
    assert compare(reference, ["d"] * 10).new == 0
    assert compare(reference, ["e"] * 10).new == 1


def test_categories_with_few_rows_in_both_samples_together_share_one_bin() -> None:
    reference = freeze(["a"] * 500 + ["b"] * 480 + [f"rare {number}" for number in range(20)])
    current = ["a"] * 490 + ["b"] * 490 + [f"seldom {number}" for number in range(20)]
    estimate = compare(reference, current)
    assert estimate.psi == pytest.approx(by_definition([500, 480, 20], [490, 490, 20]))
    assert (estimate.bins, estimate.new) == (3, 0.02)


def test_the_smaller_sample_decides_which_categories_are_rare() -> None:
    reference = freeze(["a"] * 9_000 + ["b"] * 900 + ["c"] * 100)
    assert compare(reference, ["a"] * 9_000 + ["b"] * 900 + ["c"] * 100).bins == 3
    assert compare(reference, ["a"] * 90 + ["b"] * 9 + ["c"]).bins == 3  # a, b, and a bin for c
    assert compare(reference, ["a"] * 45 + ["b"] * 4 + ["c"]).bins == 2  # a, and a bin for b and c


def test_a_frequent_new_category_is_seen_beside_a_long_tail() -> None:
    tail = [f"rare {number}" for number in range(300)]
    reference = freeze(["a"] * 700 + tail)
    estimate = compare(reference, ["a"] * 500 + tail[:200] + ["new"] * 300)
    assert estimate.psi == pytest.approx(by_definition([700, 0, 300], [500, 300, 200]))
    assert estimate.psi > 1


def test_at_most_twenty_categories_have_their_own_bin() -> None:
    names = [f"c{number}" for number in range(40)] * 100
    assert compare(freeze(names), names).bins == 21


def test_counts_that_do_not_fit_the_reference_are_an_error() -> None:
    reference = freeze(["a", "b"])
    with pytest.raises(ValueError, match="3 counts for 4 bins"):
        compare_counts(reference, [1, 1, 1])
    with pytest.raises(ValueError, match="4 rows of new categories, but 3 rows in their bin"):
        compare_counts(reference, [1, 1, 3, 0], new=[2, 2])


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1), st.integers(1, 3))
def test_a_reference_survives_json(values: list[str | None], most: int) -> None:
    references = [build_numeric_reference([0.5, *[float(len(value or "")) for value in values]])]
    if any(values):
        references.append(freeze(values, max_categories=most))
    for reference in references:
        again = PsiReference.from_dict(json.loads(json.dumps(reference.to_dict(), allow_nan=False)))
        assert again == reference


@pytest.mark.parametrize(
    "change", [{"counts": [1]}, {"edges": None}, {"categories": {"a": 0}}, {"edges": None, "categories": {"a": 0}, "counts": [1]}]
)
def test_a_damaged_reference_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"counts for|either edges or categories"):
        PsiReference.from_dict(build_numeric_reference(NORMAL).to_dict() | change)


def estimate(psi: float, p_value: float, rows: int = 1000, reference_rows: int = 1000) -> PsiEstimate:
    return PsiEstimate(psi=psi, p_value=p_value, bins=10, rows=rows, reference_rows=reference_rows, missing=0, new=0)


def test_a_feature_has_drifted_only_if_all_three_conditions_hold() -> None:
    answers = compare_features(
        {
            "moved": estimate(0.5, 1e-6),
            "small": estimate(0.1, 1e-9),
            "noise": estimate(0.3, 0.02),
            "few": estimate(0.9, 1e-6, rows=499),
            "edge": estimate(0.2, 1e-6),
        }
    )
    assert [name for name, answer in answers.items() if answer.drifted] == ["moved"]
    assert [name for name, answer in answers.items() if not answer.conclusive] == ["noise", "few"]


def test_a_small_reference_is_as_inconclusive_as_a_small_sample() -> None:
    answers = compare_features({"few": estimate(0.9, 1e-6, reference_rows=100)})
    assert (answers["few"].drifted, answers["few"].conclusive) == (False, False)


def test_p_values_are_adjusted_over_all_features() -> None:
    values = {"a": 0.009, "b": 0.5, "c": 0.004}
    answers = compare_features({name: estimate(0.3, value) for name, value in values.items()})
    assert [answer.adjusted_p for answer in answers.values()] == benjamini_hochberg(list(values.values())).tolist()
    assert not any(answer.drifted for answer in answers.values())
    alone = compare_features({"a": estimate(0.3, 0.009)})
    assert alone["a"].drifted
    assert compare_features({}) == {}


def test_invalid_input_is_an_error() -> None:
    for values in ([], [math.nan], [[1.0]]):
        with pytest.raises(ValueError, match=r"at least one value|one dimension"):
            build_numeric_reference(values)
    for values in ([], [None]):
        with pytest.raises(ValueError, match="at least one value"):
            freeze(values)
    with pytest.raises(ValueError, match="at least two bins"):
        build_numeric_reference([1.0], bins=1)
    with pytest.raises(ValueError, match="at least one category"):
        freeze(["a"], max_categories=0)
    with pytest.raises(ValueError, match="without rows"):
        estimate_psi(build_numeric_reference(NORMAL), [])
    with pytest.raises(ValueError, match="could not convert"):
        estimate_psi(build_numeric_reference(NORMAL), ["a"])


def test_any_change_of_a_constant_feature_is_visible() -> None:
    reference = build_numeric_reference([3.0] * 1000)
    assert estimate_psi(reference, [3.0] * 500).psi == 0
    assert estimate_psi(reference, [3.0] * 500).p_value == 1
    assert estimate_psi(reference, [4.0] * 500).psi > 1
    assert estimate_psi(reference, [2.0] * 500).psi > 1
    assert estimate_psi(build_numeric_reference([math.inf] * 1000), [3.0] * 500).psi > 1


def test_a_frequent_value_is_counted_apart_from_its_neighbours() -> None:
    reference = build_numeric_reference([0.0] * 600 + [1.0] * 400)
    assert reference.counts == (0, 600, 0, 400, 0, 0)
    for current in ([-0.1] * 600 + [1.0] * 400, [0.0] * 600 + [0.5] * 400, [0.0] * 600 + [1.1] * 400):
        assert estimate_psi(reference, current).psi > 1


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "bins", "wanted"), [(50, 10, 0.83), (100, 10, 0.35), (200, 10, 0.018), (200, 20, 0.40)])
def test_the_customary_limit_alone_has_the_documented_rate_of_false_alarms(rows: int, bins: int, wanted: float) -> None:
    rng = np.random.default_rng(9)
    assert chi2.sf(0.2 / (2 / rows), bins - 1) == pytest.approx(wanted, abs=0.006)
    indices, p_values = [], []
    for _ in range(3000):
        one = estimate_psi(build_numeric_reference(rng.normal(size=rows), bins=bins), rng.normal(size=rows))
        indices.append(one.psi)
        p_values.append(one.p_value)
    # With so few rows, the smoothing lowers the index a little.
    assert wanted - 0.08 <= np.mean(np.array(indices) > 0.2) <= wanted + 0.01
    assert np.mean(np.array(p_values) < 0.01) <= 0.02
