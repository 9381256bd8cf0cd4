"""The gate's decision: which challenger is promoted, and what a refusal must not reveal."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from sluice.errors import ConfigurationError, DataError
from sluice.gate.decision import GateDecision, decide_promotion
from sluice.statistics.auc import compare_auc
from sluice.verdicts import Outcome

RULE = {"margin": 0.005, "alpha": 0.05, "budget": 52}


def draw_scores(rows: int, *, better: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels, the champion's scores (AUC 0.85) and the challenger's; the noise of both has the correlation 0.9."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 5 == 0
    common, own = rng.normal(size=rows), rng.normal(size=(2, rows))
    shift = math.sqrt(2) * norm.ppf([0.85, 0.85 + better])
    champion, challenger = (math.sqrt(0.9) * common + math.sqrt(0.1) * own[k] + shift[k] * labels for k in (0, 1))
    return labels, norm.cdf(champion), norm.cdf(challenger)


LABELS, CHAMPION, BETTER = draw_scores(10_000, better=0.03)
NO_BETTER = draw_scores(10_000, better=0.0)[2]


def decide(challenger: np.ndarray, **changes: object) -> GateDecision:
    arguments = {"champion": CHAMPION, "challenger": challenger, "uses": 1, **RULE, **changes}
    return decide_promotion(LABELS, **arguments)


def test_a_better_challenger_is_promoted_with_its_numbers() -> None:
    decision = decide(BETTER)
    compared = compare_auc(LABELS, CHAMPION, BETTER)
    assert decision.promote
    assert decision.verdict.outcome is Outcome.PASS
    assert (decision.first, decision.unproven, decision.uses, decision.budget) == (False, False, 1, 52)
    assert decision.difference == decision.verdict.observed == compared.difference
    assert decision.lower_bound == compared.lower_bound(0.05 / 52) > 0
    assert decision.level == pytest.approx(1 - 0.05 / 52)
    assert decision.verdict.interval.low == pytest.approx(decision.lower_bound)
    assert f"{compared.difference:.4f}" in decision.verdict.detail
    assert (decision.verdict.threshold, decision.verdict.comparison, decision.verdict.rows) == (0.005, ">", 10_000)


@pytest.mark.parametrize(
    ("challenger", "changes"),
    [
        (NO_BETTER, {}),
        (CHAMPION, {"margin": 0.0}),
        (BETTER, {"margin": 0.5}),
        (draw_scores(10_000, better=0.01)[2], {"alpha": 1e-9}),
        (1 - BETTER, {}),
    ],
)
def test_all_other_challengers_are_refused(challenger: np.ndarray, changes: dict[str, float]) -> None:
    decision = decide(challenger, **changes)
    assert not decision.promote
    assert decision.verdict.outcome is Outcome.FAIL


def draw_near_miss() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a challenger that is above the margin, and proven better at alpha but not at alpha / budget."""
    for seed in range(1000):
        labels, champion, challenger = draw_scores(1500, better=0.015, seed=seed)
        compared = compare_auc(labels, champion, challenger)
        if compared.difference > 0.005 and compared.lower_bound(0.05) > 0 > compared.lower_bound(0.05 / 52):
            return labels, champion, challenger
    raise AssertionError("no near miss among 1,000 draws")


def test_alpha_is_divided_by_the_budget() -> None:
    labels, champion, challenger = draw_near_miss()
    answers = [
        decide_promotion(
            labels, champion=champion, challenger=challenger, uses=1, margin=0.005, alpha=0.05, budget=budget
        ).promote
        for budget in (1, 52)
    ]
    assert answers == [True, False]


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(-0.05, 0.1), st.floats(0, 0.05), st.floats(0.01, 0.4), st.integers(1, 60))
def test_a_challenger_is_promoted_if_and_only_if_it_is_above_the_margin_and_proven(
    seed: int, better: float, margin: float, alpha: float, budget: int
) -> None:
    labels, champion, challenger = draw_scores(400, better=better, seed=seed)
    decision = decide_promotion(
        labels, champion=champion, challenger=challenger, margin=margin, alpha=alpha, budget=budget, uses=1
    )
    compared = compare_auc(labels, champion, challenger)
    assert decision.promote == (compared.difference > margin and compared.lower_bound(alpha / budget) > 0)


def test_a_refusal_shows_nothing_that_depends_on_the_scores() -> None:
    shown = {json.dumps(decide(challenger).to_public_dict(), allow_nan=False) for challenger in (NO_BETTER, CHAMPION, 1 - BETTER)}
    assert len(shown) == 1
    public = json.loads(shown.pop())
    assert (public["difference"], public["lower_bound"]) == (None, None)
    assert (public["verdict"]["observed"], public["verdict"]["interval"]) == (None, None)
    refused = decide(NO_BETTER)
    assert refused.difference is not None
    assert str(refused.difference)[:6] not in repr(refused)
    assert refused.verdict == decide(CHAMPION).verdict
    assert refused.to_public().difference is None
    assert refused.to_public().lower_bound is None


def test_near_misses_of_both_kinds_get_the_same_answer() -> None:
    """A challenger above the margin that is not proven gets the same answer as a proven one within the margin."""
    labels, champion, challenger = draw_near_miss()
    rule = {"margin": 0.005, "alpha": 0.05, "budget": 52, "uses": 1}
    unproven = decide_promotion(labels, champion=champion, challenger=challenger, **rule)
    assert unproven.difference > 0.005
    close = np.where(labels, champion + 1e-3, champion)
    within = decide_promotion(labels, champion=champion, challenger=close, **rule)
    assert within.lower_bound > 0
    assert within.difference < 0.005
    assert within.to_public_dict() == unproven.to_public_dict()


def test_the_first_champion_is_unproven() -> None:
    decision = decide(NO_BETTER, champion=None)
    assert (decision.promote, decision.first, decision.unproven) == (True, True, True)
    assert (decision.verdict.outcome, decision.verdict.unproven) == (Outcome.PASS, True)
    assert (decision.difference, decision.lower_bound, decision.level) == (None, None, None)
    assert decide(BETTER, champion=None, uses=53).promote


def test_a_spent_budget_refuses_even_the_best_challenger() -> None:
    assert decide(BETTER, uses=52).promote
    decision = decide(BETTER, uses=53)
    assert not decision.promote
    assert decision.verdict.outcome is Outcome.INCONCLUSIVE
    assert "the holdout's budget of 52 questions is spent" in decision.verdict.detail
    assert (decision.uses, decision.budget, decision.difference) == (53, 52, None)


@pytest.mark.parametrize(("positives", "promoted"), [(29, False), (30, True)])
def test_too_few_rows_are_inconclusive(positives: int, promoted: bool) -> None:
    labels = np.arange(200) < positives
    rng = np.random.default_rng(0)
    decision = decide_promotion(labels, champion=rng.random(200), challenger=labels * 1.0, uses=1, **RULE)
    assert decision.promote is promoted
    assert decision.verdict.outcome is (Outcome.PASS if promoted else Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("challenger", [BETTER, NO_BETTER])
@pytest.mark.parametrize("changes", [{}, {"champion": None}, {"uses": 99}])
def test_the_public_dict_is_json_and_can_be_read_back(challenger: np.ndarray, changes: dict[str, object]) -> None:
    decision = decide(challenger, **changes)
    again = GateDecision.from_public_dict(json.loads(json.dumps(decision.to_public_dict(), allow_nan=False)))
    assert again == decision.to_public()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"margin": -0.1}, "gate.margin"),
        ({"margin": 1}, "gate.margin"),
        ({"margin": math.nan}, "gate.margin"),
        ({"budget": 0}, "gate.budget"),
        ({"alpha": 0}, "gate.alpha"),
        ({"alpha": 0.9, "budget": 1}, "gate.alpha"),
        ({"alpha": math.nan}, "gate.alpha"),
        ({"alpha": 1e-200}, "gate.alpha"),
    ],
)
def test_settings_out_of_range_are_an_error_that_names_the_key(changes: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigurationError, match=key) as refused:
        decide(BETTER, **changes)
    assert refused.value.hint


def test_scores_that_cannot_be_compared_are_an_error_with_a_hint() -> None:
    broken = BETTER.copy()
    broken[7] = math.nan
    for challenger, changes in ((broken, {}), (BETTER, {"champion": broken}), (BETTER[1:], {}), (broken, {"champion": None})):
        with pytest.raises(DataError, match="cannot compare") as refused:
            decide(challenger, **changes)
        assert refused.value.hint
    with pytest.raises(DataError, match="both classes"):
        decide_promotion([1, 1], champion=None, challenger=[0.1, 0.2], uses=1, **RULE)
    with pytest.raises(ValueError, match="at least 1"):
        decide(BETTER, uses=0)


@pytest.mark.slow
def test_a_year_of_equal_challengers_seldom_promotes_one() -> None:
    """With 52 questions to 1,000 rows and challengers equal to the champion, about 3 % promote one (at most alpha)."""
    rng = np.random.default_rng(77)
    labels = np.arange(1000) % 5 == 0
    shift = math.sqrt(2) * norm.ppf(0.85) * labels
    years = 300
    promoted = 0
    for _ in range(years):
        common = math.sqrt(0.9) * rng.normal(size=1000) + shift
        champion = common + math.sqrt(0.1) * rng.normal(size=1000)
        promoted += any(
            decide_promotion(
                labels, champion=champion, challenger=common + math.sqrt(0.1) * rng.normal(size=1000), uses=use, **RULE
            ).promote
            for use in range(1, 53)
        )
    assert promoted / years <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / years)
