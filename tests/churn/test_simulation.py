"""The simulation that replaces the warehouse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn.customers import AS_OF, CHANNELS, CONTRACT_TYPES, simulate_customers
from churn.data import COLUMNS, load_churn_data
from churn.faults import FAULTS, find_fault
from churn.simulation import main, make_export, write_export

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return simulate_customers(4_000, seed=11)


def test_a_simulated_export_has_the_format_of_a_real_one(customers: pd.DataFrame) -> None:
    """Columns, sets and ranges fit the contract, and values are missing in the same columns as in real exports."""
    assert tuple(customers.columns) == COLUMNS
    assert customers["customer_id"].is_unique
    assert set(customers["contract_type"]) == set(CONTRACT_TYPES)
    assert set(customers["acquisition_channel"].dropna()) == set(CHANNELS)
    assert customers["usage_hour"].dropna().between(0, 23).all()
    assert (customers["monthly_spend"].dropna() > 0).all()
    missing = customers.isna().mean()
    assert set(missing[missing > 0].index) == {"monthly_spend", "last_login_at", "usage_hour", "acquisition_channel"}
    assert missing.max() < 0.06


def test_dates_are_consistent(customers: pd.DataFrame) -> None:
    """No customer logs in before the signup or after the export, and the tenure is the time since the signup."""
    signup = customers["signup_date"].to_numpy(dtype="datetime64[D]")
    login = customers["last_login_at"].dropna()
    assert (login.to_numpy(dtype="datetime64[D]") >= signup[login.index]).all()
    assert login.to_numpy(dtype="datetime64[D]").max() <= AS_OF
    months = (AS_OF - signup).astype(float) / 30.44
    assert np.array_equal(customers["tenure_months"], np.floor(months))


def test_the_rates_are_those_of_the_ground_truth(customers: pd.DataFrame) -> None:
    """About 21.5 % of the customers churn, and 8 % are enterprises."""
    assert customers["churned"].mean() == pytest.approx(0.215, abs=0.02)
    assert customers["is_enterprise"].mean() == pytest.approx(0.08, abs=0.02)


def test_the_seed_determines_the_export() -> None:
    """The same seed gives the same customers, and another seed gives other customers."""
    pd.testing.assert_frame_equal(simulate_customers(50, seed=3), simulate_customers(50, seed=3))
    assert set(simulate_customers(50, seed=3)["customer_id"]).isdisjoint(simulate_customers(50, seed=4)["customer_id"])


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_equal_exports_have_equal_bytes(tmp_path: Path, name: str) -> None:
    """Two files of the same export are equal."""
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_export(simulate_customers(200, seed=3), folder / name)
        written.append((folder / name).read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_changes_the_export(fault: str) -> None:
    """An export with a fault differs from the export without it."""
    assert not make_export(1_000, 3, fault=fault).equals(make_export(1_000, 3))


def test_an_unknown_fault_is_an_error() -> None:
    """The error for an unknown fault lists the known ones."""
    with pytest.raises(ValueError, match="no fault 'gremlins'; the known faults are broken_column"):
        find_fault("gremlins")


def test_the_command_writes_an_export(tmp_path: Path) -> None:
    """`python -m churn.simulation` writes a file that the loader reads."""
    target = tmp_path / "export.csv"
    command = [sys.executable, "-m", "churn.simulation", "--rows", "50", "--seed", "9", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert len(load_churn_data(target)) == 50


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name the file to write, or use --all"),
        (["--all", "x.csv"], "name the file to write, or use --all"),
        (["--all", "--fault", "truncated"], "--all writes the data of the example without faults"),
        (["x.csv", "--rows", "0"], "--rows must be at least 1"),
        (["x.csv", "--fault", "gremlins"], "invalid choice: 'gremlins'"),
        (["x.xlsx"], "ends in .parquet or .csv"),
    ],
    ids=["nothing", "both", "fault for all", "no rows", "unknown fault", "other ending"],
)
def test_the_command_rejects_wrong_arguments(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments end with exit code 2 and a message."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A file is written completely or not at all."""
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        write_export(simulate_customers(5, seed=1), tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
