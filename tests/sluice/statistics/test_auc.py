"""Fast DeLong against its definition, and the intervals in cases in which the usual ones fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from sluice.statistics.auc import compare_auc, estimate_auc

Z95 = 1.959963984540054


def kernel(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """The O(mn) definition: 1 for a pair in order, one half for a tie."""
    return (positives[:, None] > negatives[None, :]) + 0.5 * (positives[:, None] == negatives[None, :])


def components(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    psi = kernel(scores[labels == 1], scores[labels == 0])
    return psi.mean(), psi.mean(axis=1), psi.mean(axis=0)


def brute_force_covariance(labels: np.ndarray, *models: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUCs and DeLong's covariance matrix S10 / m + S01 / n, computed from every pair."""
    parts = [components(labels, scores) for scores in models]
    of_positives, of_negatives = np.stack([part[1] for part in parts]), np.stack([part[2] for part in parts])
    covariance = np.atleast_2d(np.cov(of_positives)) / of_positives.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_negatives)) / of_negatives.shape[1]
    return np.array([part[0] for part in parts]), covariance


@st.composite
def samples(draw: st.DrawFn, models: int = 1) -> tuple[np.ndarray, ...]:
    positives, negatives = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    labels = np.array(draw(st.permutations([1] * positives + [0] * negatives)))
    # With few distinct values, ties are certain. With arbitrary floats, they are rare.
    values = draw(
        st.sampled_from([st.integers(0, 3).map(float), st.floats(-1e6, 1e6), st.sampled_from([-math.inf, 0.0, -0.0, math.inf])])
    )
    return labels, *(np.array(draw(st.lists(values, min_size=labels.size, max_size=labels.size))) for _ in range(models))


@settings(max_examples=200)
@given(samples())
def test_estimate_equals_the_definition(sample: tuple[np.ndarray, ...]) -> None:
    labels, scores = sample
    (auc,), covariance = brute_force_covariance(labels, scores)
    estimate = estimate_auc(labels, scores)
    assert estimate.auc == pytest.approx(auc, abs=1e-10)
    assert estimate.standard_error**2 == pytest.approx(covariance[0, 0], abs=1e-10)
    assert (estimate.positives, estimate.negatives) == (np.sum(labels == 1), np.sum(labels == 0))
    assert 0 <= estimate.interval.low <= estimate.auc + 1e-12
    assert estimate.auc - 1e-12 <= estimate.interval.high <= 1


@settings(max_examples=200)
@given(samples(models=2))
def test_comparison_equals_the_brute_force_covariance(sample: tuple[np.ndarray, ...]) -> None:
    labels, scores_a, scores_b = sample
    (auc_a, auc_b), covariance = brute_force_covariance(labels, scores_a, scores_b)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    compared = compare_auc(labels, scores_a, scores_b)
    assert (compared.auc_a, compared.auc_b) == pytest.approx((auc_a, auc_b), abs=1e-10)
    assert compared.difference == pytest.approx(auc_b - auc_a, abs=1e-10)
    assert compared.standard_error**2 == pytest.approx(variance, abs=1e-10)
    reach = student.ppf(0.975, compared.degrees) * compared.standard_error
    assert compared.interval.low == pytest.approx(max(-1, auc_b - auc_a - reach), abs=1e-9)
    assert compared.interval.high == pytest.approx(min(1, auc_b - auc_a + reach), abs=1e-9)


@pytest.mark.parametrize("distinct", [3, 50, 10**9])
def test_thousands_of_rows_equal_the_definition(distinct: int) -> None:
    rng = np.random.default_rng(7)
    labels = rng.random(3000) < 0.2
    a = np.floor((rng.normal(size=3000) + labels) * distinct / 1000)
    b = np.floor((a / distinct * 1000 + rng.normal(size=3000)) * distinct / 1000)
    (auc_a, auc_b), covariance = brute_force_covariance(labels.astype(int), a, b)
    compared = compare_auc(labels, a, b)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert compared.difference == pytest.approx(auc_b - auc_a, abs=1e-10)
    assert compared.standard_error == pytest.approx(math.sqrt(variance), abs=1e-10)
    assert compared.auc_a == pytest.approx(roc_auc_score(labels, a), abs=1e-10)


def test_memory_does_not_grow_with_the_square_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(100_000) < 0.2
    scores = rng.normal(size=100_000) + labels
    estimate = estimate_auc(labels, scores)  # A matrix of all pairs would need 12.8 GB.
    assert estimate.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-10)


@settings(max_examples=50)
@given(samples())
def test_the_estimate_depends_only_on_the_order_of_the_scores(sample: tuple[np.ndarray, ...]) -> None:
    labels, scores = sample
    ranks = np.unique(scores, return_inverse=True)[1].astype(float)
    assert estimate_auc(labels, scores) == estimate_auc(labels, ranks**3 + 5)


@settings(max_examples=50)
@given(samples())
def test_reversing_the_scores_mirrors_the_estimate(sample: tuple[np.ndarray, ...]) -> None:
    labels, scores = sample
    there, back = estimate_auc(labels, scores), estimate_auc(labels, -scores)
    assert back.auc == pytest.approx(1 - there.auc, abs=1e-12)
    assert back.standard_error == pytest.approx(there.standard_error, abs=1e-12)
    assert back.interval.low == pytest.approx(1 - there.interval.high, abs=1e-9)


def test_the_logit_interval_equals_the_textbook_formula() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 4 == 0
    estimate = estimate_auc(labels, rng.normal(size=200) + labels, level=0.9)
    reach = norm.ppf(0.95) * estimate.standard_error / (estimate.auc * (1 - estimate.auc))
    centre = math.log(estimate.auc / (1 - estimate.auc))
    assert estimate.interval.low == pytest.approx(1 / (1 + math.exp(reach - centre)))
    assert estimate.interval.high == pytest.approx(1 / (1 + math.exp(-reach - centre)))
    assert (estimate.interval.level, estimate.interval.method) == (0.9, "logit-DeLong")


@pytest.mark.parametrize(("positives", "negatives", "low"), [(1, 1, 0.025), (1, 50, 0.025), (3, 5, 0.2924), (10, 90, 0.6915)])
def test_the_bound_at_perfect_order_depends_on_the_number_of_pairs(positives: int, negatives: int, low: float) -> None:
    labels = np.repeat([0, 1], [negatives, positives])
    perfect, inverted = (estimate_auc(labels, sign * np.arange(labels.size)) for sign in (1, -1))
    assert (perfect.auc, perfect.standard_error, perfect.interval.high) == (1, 0, 1)
    assert perfect.interval.low == pytest.approx(low, abs=1e-4)
    assert (inverted.auc, inverted.interval.low) == (0, 0)
    assert inverted.interval.high == pytest.approx(1 - low, abs=1e-4)
    assert perfect.interval.method == "disjoint-pairs"


def test_the_bound_at_perfect_order_holds_for_overlapping_normals() -> None:
    """If the true AUC equals the bound, perfect order must occur in at most 2.5 % of the samples."""
    positives, negatives = 4, 12
    truth = 0.025 ** (1 / positives)
    rng = np.random.default_rng(5)
    shift = norm.ppf(truth) * math.sqrt(2)
    lowest = (rng.normal(size=(20_000, positives)) + shift).min(axis=1)
    assert np.mean(lowest > rng.normal(size=(20_000, negatives)).max(axis=1)) <= 0.025


def test_equal_scores_give_one_half_and_no_standard_error() -> None:
    estimate = estimate_auc([0, 0, 1, 1], [0.3] * 4)
    assert (estimate.auc, estimate.standard_error) == (0.5, 0)
    assert (estimate.interval.low, estimate.interval.high) == (0.5, 0.5)


def test_a_single_positive_row_gives_a_wide_interval() -> None:
    estimate = estimate_auc([1] + [0] * 20, [0.75, *np.linspace(0, 1, 20)])
    assert estimate.auc == 0.75
    assert estimate.interval.low < 0.35
    assert estimate.interval.high > 0.93
    compared = compare_auc([1] + [0] * 20, [0.75, *np.linspace(0, 1, 20)], [0.95, *np.linspace(0, 1, 20)])
    assert compared.difference > 0
    assert compared.interval.low < 0 < compared.interval.high


def test_the_degrees_of_freedom_are_those_of_a_welch_test_of_the_components() -> None:
    rng = np.random.default_rng(8)
    labels = np.arange(500) < 30
    first, second = rng.normal(size=(2, 500)) + labels
    compared = compare_auc(labels, first, second)

    def component(scores: np.ndarray, of: np.ndarray) -> np.ndarray:
        return (scores[of][:, None] > scores[~of]).mean(axis=1)

    variances = [np.var(component(second, of) - component(first, of), ddof=1) / of.sum() for of in (labels, ~labels)]
    assert compared.degrees == pytest.approx(sum(variances) ** 2 / (variances[0] ** 2 / 29 + variances[1] ** 2 / 469))
    assert 29 < compared.degrees < 60
    assert compared.lower_bound(0.05) < compared.difference + norm.ppf(0.05) * compared.standard_error


def test_the_difference_of_identical_scores_is_zero() -> None:
    labels, scores = [0, 1, 0, 1, 1], [0.1, 0.4, 0.4, 0.2, 0.9]
    compared = compare_auc(labels, scores, np.exp(scores))
    assert (compared.difference, compared.standard_error) == (0, 0)
    assert (compared.interval.low, compared.interval.high) == (0, 0)
    assert compared.lower_bound(0.05) == 0
    alone = compare_auc([0, 1], [0.1, 0.4], [0.1, 0.4])
    assert alone.standard_error == 0


def test_the_lower_bound_is_one_sided() -> None:
    rng = np.random.default_rng(11)
    labels = np.arange(400) % 3 == 0
    scores = rng.normal(size=400) + labels
    compared = compare_auc(labels, scores, scores + rng.normal(size=400), level=0.9)
    assert compared.lower_bound(0.05) == pytest.approx(compared.interval.low)
    assert compared.lower_bound(0.05 / 52) < compared.lower_bound(0.05) < compared.difference
    tiny = compare_auc([0, 1], [0, 1], [1, 0])
    assert (tiny.difference, tiny.lower_bound(0.05)) == (-1, -1)
    for alpha in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            compared.lower_bound(alpha)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 1], [0.1, math.nan], "1 of 2 scores are NaN"),
        ([1, 1], [0.1, 0.2], "both classes, but 2 of 2"),
        ([0, 0], [0.1, 0.2], "both classes, but 0 of 2"),
        ([], [], "both classes, but 0 of 0"),
        ([0, 1, 1], [0.1, 0.2], "one score for each of the"),
        ([0, 1], [[0.1], [0.2]], "one score for each of the"),
        ([0, 2], [0.1, 0.2], "labels must be 0 or 1"),
        ([0, math.nan], [0.1, 0.2], "labels must be 0 or 1"),
        ([[0, 1]], [0.1, 0.2], "one dimension"),
    ],
)
def test_labels_and_scores_without_an_auc_are_an_error(labels: list[float], scores: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        estimate_auc(labels, scores)
    with pytest.raises(ValueError, match=reason):
        compare_auc(labels, scores, scores)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_outside_zero_and_one_is_an_error(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        estimate_auc([0, 1], [0, 1], level=level)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        compare_auc([0, 1], [0, 1], [0, 1], level=level)


def test_labels_may_have_any_type() -> None:
    scores = [0.2, 0.7, 0.4]
    expected = estimate_auc([0, 1, 1], scores)
    assert estimate_auc([False, True, True], scores) == expected
    assert estimate_auc(np.array([0.0, 1.0, 1.0]), scores) == expected
    assert estimate_auc(np.array([False, True, True], dtype=object), scores) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "wald", "logit"), [(30, 0.862, 0.938), (100, 0.922, 0.947)])
def test_small_slices_have_the_documented_coverage(rows: int, wald: float, logit: float) -> None:
    rng = np.random.default_rng(20)
    shift = norm.ppf(0.80) * math.sqrt(2)
    labels = np.arange(rows) < rows // 5
    estimates = [estimate_auc(labels, rng.normal(size=rows) + shift * labels) for _ in range(10_000)]
    assert np.mean([abs(one.auc - 0.80) <= Z95 * one.standard_error for one in estimates]) == pytest.approx(wald, abs=0.01)
    assert np.mean([one.interval.low <= 0.80 <= one.interval.high for one in estimates]) == pytest.approx(logit, abs=0.01)
