"""Layer 1: the simulation that stands in for the warehouse."""

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


def test_the_shape_of_a_real_export(customers: pd.DataFrame) -> None:
    """Columns, sets and ranges are those of the contract, with missing values where exports have them."""
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
    """Nobody logs in before signing up or after the export, and the tenure is the time since."""
    signup = customers["signup_date"].to_numpy(dtype="datetime64[D]")
    login = customers["last_login_at"].dropna()
    assert (login.to_numpy(dtype="datetime64[D]") >= signup[login.index]).all()
    assert login.to_numpy(dtype="datetime64[D]").max() <= AS_OF
    months = (AS_OF - signup).astype(float) / 30.44
    assert np.array_equal(customers["tenure_months"], np.floor(months))


def test_rates_are_those_of_the_truth(customers: pd.DataFrame) -> None:
    """About 21.5 % churn and 8 % are enterprises."""
    assert customers["churned"].mean() == pytest.approx(0.215, abs=0.02)
    assert customers["is_enterprise"].mean() == pytest.approx(0.08, abs=0.02)


def test_a_seed_is_an_export() -> None:
    """The same seed gives the same customers, another one others."""
    pd.testing.assert_frame_equal(simulate_customers(50, seed=3), simulate_customers(50, seed=3))
    assert set(simulate_customers(50, seed=3)["customer_id"]).isdisjoint(simulate_customers(50, seed=4)["customer_id"])


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_equal_exports_have_equal_bytes(tmp_path: Path, name: str) -> None:
    """Written twice, the file is the same to the byte."""
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_export(simulate_customers(200, seed=3), folder / name)
        written.append((folder / name).read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_changes_the_export(fault: str) -> None:
    """A fault is one: the export is not the right one."""
    assert not make_export(1_000, 3, fault=fault).equals(make_export(1_000, 3))


def test_faults_have_names() -> None:
    """An unknown fault is refused, and the known ones are listed."""
    with pytest.raises(ValueError, match="no fault 'gremlins'; the known ones are broken_column"):
        find_fault("gremlins")


def test_the_command_writes_an_export(tmp_path: Path) -> None:
    """`python -m churn.simulation` writes what the loader reads."""
    target = tmp_path / "export.csv"
    command = [sys.executable, "-m", "churn.simulation", "--rows", "50", "--seed", "9", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert len(load_churn_data(target)) == 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the file to write, or --all"),
        (["--all", "x.csv"], "name the file to write, or --all"),
        (["--all", "--fault", "truncated"], "--all writes the example's data without faults"),
        (["x.csv", "--rows", "0"], "--rows must be at least 1"),
        (["x.csv", "--fault", "gremlins"], "invalid choice: 'gremlins'"),
        (["x.xlsx"], "ends in .parquet or .csv"),
    ],
    ids=["nothing", "both", "fault for all", "no rows", "unknown fault", "other ending"],
)
def test_the_command_says_what_is_wrong(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments end with code 2 and one sentence."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A file is written whole or not at all."""
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        write_export(simulate_customers(5, seed=1), tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
