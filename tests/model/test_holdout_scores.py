"""Layer 3: the fitted model on the test rows of the holdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from churn.expectations import CONTRACT_TYPES, RANGES
from sluice.checks.judgements import (
    Example,
    judge_auc,
    judge_calibration,
    judge_coverage,
    judge_direction,
    judge_examples,
    judge_slices,
    predict_probability,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from sluice.data.holdout import LabelledRows
    from sluice.project.projects import Project


def within_contract(rows: pd.DataFrame) -> np.ndarray:
    """Return for each row whether the data contract allows it. Missing values are allowed."""
    allowed = rows["contract_type"].isin(CONTRACT_TYPES).to_numpy()
    for column, (low, high) in RANGES.items():
        allowed = allowed & (rows[column].isna() | rows[column].between(low, high)).to_numpy()
    return allowed


def test_auc(model: Pipeline, holdout: LabelledRows, thresholds: dict[str, float], verify: Callable[..., None]) -> None:
    """The model separates customers who leave from those who stay."""
    scores = predict_probability(model, holdout.features)
    verify(judge_auc("auc", holdout.labels, scores, threshold=thresholds["auc"]))


def test_auc_of_slices(
    model: Pipeline, holdout: LabelledRows, project: Project, thresholds: dict[str, float], verify: Callable[..., None]
) -> None:
    """The model does so among enterprises too. A slice with fewer than 30 rows is inconclusive."""
    verify(judge_slices("auc", model, holdout, project.settings.data.slices, threshold=thresholds["auc_enterprise"]))


def test_the_probabilities_are_calibrated(model: Pipeline, holdout: LabelledRows, verify: Callable[..., None]) -> None:
    """The mean probability is about the share of customers who leave, and the probabilities are not too extreme or too timid."""
    verify(judge_calibration("calibration", holdout.labels, predict_probability(model, holdout.features)))


def test_annual_contracts_keep_customers(
    model: Pipeline, holdout: LabelledRows, thresholds: dict[str, float], verify: Callable[..., None]
) -> None:
    """The same customer is less likely to leave with an annual contract than with a monthly one."""
    monthly = holdout.features[holdout.features["contract_type"] == "monthly"]
    threshold, change = thresholds["contract_effect"], {"contract_type": "annual"}
    verify(
        judge_direction("contract_effect", model, monthly, change, expect="lower", threshold=threshold, within=within_contract)
    )


def test_well_known_customers(model: Pipeline, holdout: LabelledRows, verify: Callable[..., None]) -> None:
    """Two customers about whom everybody would agree."""
    recent, idle = {"last_login_at": "2026-02-27"}, {"last_login_at": "2025-12-20"}
    loyal = {"tenure_months": 60, "monthly_spend": 40.0, "contract_type": "multi-year", "is_enterprise": False}
    leaving = {"tenure_months": 3, "monthly_spend": 150.0, "contract_type": "monthly", "is_enterprise": False}
    other = {"usage_hour": 14, "acquisition_channel": "search"}
    examples = {
        "loyal for years": Example({**loyal, **recent, **other, "signup_date": "2021-03-01"}, high=0.1),
        "idle and new": Example({**leaving, **idle, **other, "signup_date": "2025-12-01"}, low=0.5),
    }
    verify(judge_examples("well_known_customers", model, holdout.features, examples))


def test_every_row_has_a_probability(model: Pipeline, holdout: LabelledRows, verify: Callable[..., None]) -> None:
    """Every test row gets a finite number in [0, 1]."""
    verify(judge_coverage("probability_for_every_row", predict_probability(model, holdout.features), len(holdout)))


def test_rows_with_gaps_have_a_probability(model: Pipeline, holdout: LabelledRows, verify: Callable[..., None]) -> None:
    """Rows with a missing value in any column, and rows with an unseen category, get a finite number in [0, 1]."""
    sample = holdout.features.head(50)
    gaps = [sample.astype({column: object}).assign(**{column: None}) for column in sample.columns]
    gaps += [sample.assign(**{column: "unheard-of"}) for column in ("contract_type", "acquisition_channel")]
    answers = np.concatenate([predict_probability(model, rows) for rows in gaps])
    verify(judge_coverage("probability_for_rows_with_gaps", answers, len(gaps) * len(sample)))


def test_the_probability_of_a_row_does_not_depend_on_its_batch(model: Pipeline, holdout: LabelledRows) -> None:
    """The probability of a row does not depend on the other rows of the batch."""
    sample = holdout.features.head(20)
    whole = predict_probability(model, sample)
    alone = [predict_probability(model, sample.iloc[[row]])[0] for row in range(len(sample))]
    assert whole == pytest.approx(alone, abs=1e-12)
