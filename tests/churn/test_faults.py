"""Every known fault of an export is found, and by the test layer that should find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from churn.customers import simulate_with_probability
from churn.data import FEATURES, LABEL, load_churn_data, read_export
from churn.expectations import expect_snapshot
from churn.faults import FAULTS
from churn.model import build_model
from churn.simulation import make_export, write_export
from sluice.checks.expectations import run_expectations
from sluice.statistics.auc import estimate_auc
from sluice.statistics.psi import build_numeric_reference, estimate_psi

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from sklearn.pipeline import Pipeline

ROWS = 12_000

FOUND_BY_EXPECTATIONS = {
    "broken_column": {"mean_to_be_between[monthly_spend]", "values_to_be_between[monthly_spend]"},
    "garbled_contracts": {"values_to_be_in_set[contract_type]"},
    "duplicate_ids": {"values_to_be_unique[customer_id]"},
    "null_ids": {"values_to_not_be_null[customer_id]"},
    "missing_logins": {"values_to_not_be_null[last_login_at]"},
    "truncated": {"table_row_count_to_be_between"},
    "bad_labels": {"values_to_be_in_set[churned]"},
}
FOUND_BY_THE_LOADER = {
    "missing_column": "usage_hour",
    "duplicate_ids": "customer_id",
    "null_ids": "customer_id",
    "bad_labels": "churned",
}
FOUND_BY_THE_MODEL = {"weak_signal", "enterprise_flipped", "swapped_contracts"}
DRIFT = {"charge_drift_2": 0.037, "charge_drift_4": 0.14, "charge_drift_6": 0.31, "charge_drift_8": 0.55}
"""Population stability index of monthly_spend."""


def failed(path: Path) -> set[str]:
    verdicts = run_expectations(read_export(path), expect_snapshot(), name="customers")
    return {verdict.check for verdict in verdicts if verdict.failed}


def auc(model: Pipeline, rows: pd.DataFrame) -> tuple[float, float]:
    """Return the AUC of all rows and the AUC of the enterprises."""
    scores, labels = model.predict_proba(rows[list(FEATURES)])[:, 1], rows[LABEL].to_numpy()
    enterprise = rows["is_enterprise"].to_numpy(dtype=bool)
    return estimate_auc(labels, scores).auc, estimate_auc(labels[enterprise], scores[enterprise]).auc


@pytest.fixture(scope="module")
def model() -> Pipeline:
    rows = make_export(20_000, 1)
    return build_model().fit(rows[list(FEATURES)], rows[LABEL])


def test_every_fault_is_found_by_a_layer() -> None:
    assert set(FAULTS) == set(FOUND_BY_EXPECTATIONS) | set(FOUND_BY_THE_LOADER) | FOUND_BY_THE_MODEL | set(DRIFT)


def test_an_export_without_a_fault_meets_all_expectations(tmp_path: Path) -> None:
    write_export(make_export(ROWS, 1), tmp_path / "export.parquet")
    assert failed(tmp_path / "export.parquet") == set()


@pytest.mark.parametrize("fault", list(FOUND_BY_EXPECTATIONS))
def test_the_expectations_find_the_fault(fault: str, tmp_path: Path) -> None:
    write_export(make_export(ROWS, 1, fault=fault), tmp_path / "export.parquet")
    assert failed(tmp_path / "export.parquet") >= FOUND_BY_EXPECTATIONS[fault]


def test_the_expectations_find_a_missing_column(tmp_path: Path) -> None:
    write_export(make_export(ROWS, 1, fault="missing_column"), tmp_path / "export.parquet")
    assert any("usage_hour" in check for check in failed(tmp_path / "export.parquet"))


@pytest.mark.parametrize("fault", list(FOUND_BY_THE_LOADER))
def test_the_loader_finds_the_fault(fault: str, tmp_path: Path) -> None:
    write_export(make_export(1_000, 1, fault=fault), tmp_path / "export.parquet")
    with pytest.raises(ValueError, match=FOUND_BY_THE_LOADER[fault]):
        load_churn_data(tmp_path / "export.parquet")


def test_the_ground_truth_has_the_documented_rates_and_auc(model: Pipeline) -> None:
    rows, probability = simulate_with_probability(60_000, 2)
    assert rows[LABEL].mean() == pytest.approx(0.215, abs=0.006)
    assert rows["is_enterprise"].mean() == pytest.approx(0.08, abs=0.004)
    assert estimate_auc(rows[LABEL].to_numpy(), probability).auc == pytest.approx(0.847, abs=0.005)
    assert auc(model, rows)[0] == pytest.approx(0.846, abs=0.006)


def test_a_weak_signal_fails_the_overall_threshold(model: Pipeline) -> None:
    assert auc(model, make_export(40_000, 3, fault="weak_signal"))[0] == pytest.approx(0.686, abs=0.012)


def test_a_reversed_effect_of_enterprises_is_invisible_in_the_overall_auc(model: Pipeline) -> None:
    overall, enterprise = auc(model, make_export(60_000, 3, fault="enterprise_flipped"))
    assert overall == pytest.approx(0.825, abs=0.008)
    assert overall > 0.80
    assert enterprise == pytest.approx(0.604, abs=0.025)


def test_swapped_contracts_reverse_the_effect() -> None:
    rows = make_export(20_000, 1, fault="swapped_contracts")
    fitted = build_model().fit(rows[list(FEATURES)], rows[LABEL])
    monthly = rows.loc[rows["contract_type"] == "monthly", list(FEATURES)]
    before, after = (fitted.predict_proba(asked)[:, 1] for asked in (monthly, monthly.assign(contract_type="annual")))
    assert np.mean(after < before) < 0.1


@pytest.mark.parametrize("fault", list(DRIFT))
def test_each_drift_has_the_documented_stability_index(fault: str) -> None:
    before, after = (make_export(40_000, 5, fault=name)["monthly_spend"].to_numpy(dtype=float) for name in (None, fault))
    assert estimate_psi(build_numeric_reference(before), after).psi == pytest.approx(DRIFT[fault], rel=0.25)
