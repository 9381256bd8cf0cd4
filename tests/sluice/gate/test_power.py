"""What the gate says that it can see before training is what it sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gate_inputs import RULE
from scipy.stats import norm

from sluice.gate.decision import decide_promotion
from sluice.gate.power import plan_power
from sluice.statistics.auc import compare_auc, predict_difference_error


def draw(rng: np.random.Generator, labels: np.ndarray, *aucs: float, correlation: float = 0.9) -> list[np.ndarray]:
    """Draw the scores of one model for each AUC."""
    common = math.sqrt(correlation) * rng.normal(size=labels.size)
    own = math.sqrt(1 - correlation) * rng.normal(size=(len(aucs), labels.size))
    return [common + noise + math.sqrt(2) * norm.ppf(auc) * labels for noise, auc in zip(own, aucs, strict=True)]


@pytest.mark.parametrize(("auc", "correlation"), [(0.85, 0.9), (0.6, 0.5), (0.95, 0.0)])
@pytest.mark.parametrize("positives", [400, 2_000])
def test_the_predicted_error_is_the_measured_one(auc: float, correlation: float, positives: int) -> None:
    rng, labels = np.random.default_rng(4), np.arange(4_000) < positives
    found = [compare_auc(labels, *draw(rng, labels, auc, auc, correlation=correlation)) for _ in range(20)]
    error, degrees = predict_difference_error(auc, correlation, positives=positives, negatives=4_000 - positives)
    assert error == pytest.approx(np.mean([one.standard_error for one in found]), rel=0.05)
    assert degrees == pytest.approx(np.mean([one.degrees for one in found]), rel=0.2)


def test_the_figures_of_ten_thousand_rows() -> None:
    power = plan_power(10_000, 2_000, RULE)
    assert power.detectable == pytest.approx(0.0092, abs=0.0003)
    assert power.rows_for_target is None  # the margin is as large as the target
    assert power.rows_without_margin == pytest.approx(33_000, rel=0.05)
    assert "truly better by 0.005 is promoted at most every second time" in power.describe()
    assert f"with gate.margin 0, about {power.rows_without_margin:,} gate rows" in power.describe()
    assert "10,000 gate rows, and 2,000 of them have label 1" in power.describe()
    assert "better by 0.0092 with a probability of 0.8" in power.describe()


@pytest.mark.parametrize("margin", [0.0, 0.001, 0.004])
def test_with_the_stated_rows_the_target_is_what_the_gate_finds(margin: float) -> None:
    rule = RULE.model_copy(update={"margin": margin})
    power = plan_power(10_000, 2_000, rule)
    assert f"For a difference of 0.005 it would need about {power.rows_for_target:,} gate rows" in power.describe()
    there = plan_power(power.rows_for_target, power.rows_for_target // 5, rule)
    assert there.detectable == pytest.approx(0.005, rel=0.01)
    assert (power.rows_for_target == power.rows_without_margin) is (margin < 0.003)


def test_a_target_below_the_margin_needs_no_number_of_rows() -> None:
    power = plan_power(10_000, 2_000, RULE, target=0.004)
    assert (power.rows_for_target, power.rows_without_margin > 33_000) == (None, True)
    assert "truly better by 0.004 is promoted at most every second time" in power.describe()


@pytest.mark.slow
@pytest.mark.parametrize(("margin", "share"), [(0.0, 0.8), (0.005, 0.5)])
def test_the_stated_rows_find_the_target_only_without_a_margin(margin: float, share: float) -> None:
    rows = plan_power(10_000, 2_000, RULE).rows_without_margin
    rng, labels = np.random.default_rng(7), np.arange(rows) < rows // 5
    promoted = 0
    for _ in range(300):
        champion, challenger = draw(rng, labels, 0.85, 0.855)
        rule = {"margin": margin, "alpha": RULE.alpha, "budget": RULE.budget}
        promoted += decide_promotion(labels, champion=champion, challenger=challenger, uses=1, **rule).promote
    assert promoted / 300 == pytest.approx(share, abs=0.08)


def test_a_measured_error_replaces_the_assumption() -> None:
    power = plan_power(10_000, 2_000, RULE, standard_error=0.001)
    assert power.detectable == pytest.approx(0.005 + 0.8416 * 0.001, abs=1e-4)  # here the margin is what counts
    assert "stored scores of two releases" in power.describe()


@pytest.mark.parametrize(("rows", "positives", "text"), [(500, 29, "needs 30 gate rows of each class"), (500, 0, "no gate row")])
def test_a_holdout_that_is_too_small_is_said_to_be_too_small(rows: int, positives: int, text: str) -> None:
    power = plan_power(rows, positives, RULE)
    assert power.detectable is None
    assert text in power.describe()
    assert power.to_dict()["text"] == power.describe()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "positives"), [(10_000, 2_000), (1_000, 30)])
def test_the_detectable_difference_is_promoted_in_four_of_five_cases(rows: int, positives: int) -> None:
    rng, labels = np.random.default_rng(6), np.arange(rows) < positives
    detectable = plan_power(rows, positives, RULE).detectable
    promoted = 0
    for _ in range(400):
        champion, challenger = draw(rng, labels, 0.85, 0.85 + detectable)
        rule = {"margin": RULE.margin, "alpha": RULE.alpha, "budget": RULE.budget}
        promoted += decide_promotion(labels, champion=champion, challenger=challenger, uses=1, **rule).promote
    assert promoted / 400 == pytest.approx(0.8, abs=0.08)
