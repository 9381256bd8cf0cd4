"""Layer 1: the contract of the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from churn.customers import simulate_customers
from churn.data import COLUMNS, load_churn_data
from churn.simulation import write_export

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 200


@pytest.fixture
def export() -> pd.DataFrame:
    return simulate_customers(ROWS, seed=1)


def load(frame: pd.DataFrame, folder: Path, name: str = "export.csv") -> pd.DataFrame:
    write_export(frame, folder / name)
    return load_churn_data(folder / name)


def with_value(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    values = frame[column].astype(object).tolist()
    values[row] = value
    return frame.assign(**{column: pd.Series(values, dtype=object)})


@pytest.mark.parametrize("name", ["export.csv", "export.parquet"])
def test_the_schema_is_that_of_the_contract(export: pd.DataFrame, tmp_path: Path, name: str) -> None:
    """The result has every column of the contract, in its order and type, and one row for each customer."""
    frame = load(export, tmp_path, name)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == ROWS
    numbers = frame[["tenure_months", "monthly_spend", "usage_hour"]]
    assert (numbers.dtypes == np.float64).all()
    assert frame["is_enterprise"].dtype == np.bool_
    assert frame["churned"].dtype == np.int64
    assert set(frame["churned"]) == {0, 1}


def test_ids_are_unique_and_present(export: pd.DataFrame, tmp_path: Path) -> None:
    """Each customer has a unique id."""
    ids = load(export, tmp_path)["customer_id"]
    assert ids.notna().all()
    assert ids.is_unique


def test_csv_and_parquet_are_read_alike(export: pd.DataFrame, tmp_path: Path) -> None:
    """The same export gives the same frame from both formats."""
    pd.testing.assert_frame_equal(load(export, tmp_path, "a.csv"), load(export, tmp_path, "a.parquet"))


def test_missing_values_stay_missing(export: pd.DataFrame, tmp_path: Path) -> None:
    """The loader does not fill in values."""
    columns = ["monthly_spend", "last_login_at", "usage_hour", "acquisition_channel"]
    loaded = load(export, tmp_path)
    assert export[columns].isna().to_numpy().any()
    assert (loaded[columns].isna() == export[columns].isna()).all(axis=None)


def test_ids_with_leading_zeros_stay_text(export: pd.DataFrame, tmp_path: Path) -> None:
    """Customer 007 is not customer 7."""
    numbered = export.assign(customer_id=[f"{number:06d}" for number in range(ROWS)])
    assert load(numbered, tmp_path)["customer_id"].tolist()[7] == "000007"


def test_other_columns_are_left_out(export: pd.DataFrame, tmp_path: Path) -> None:
    """A column outside the contract never reaches the model."""
    assert "note" not in load(export.assign(note="x"), tmp_path)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(export: pd.DataFrame, tmp_path: Path, column: str) -> None:
    """The message names the missing column."""
    with pytest.raises(ValueError, match=f"missing: {column};"):
        load(export.drop(columns=column), tmp_path)


def test_null_ids_are_counted(export: pd.DataFrame, tmp_path: Path) -> None:
    """The message names the column and the number of rows."""
    with pytest.raises(ValueError, match=r"customer_id is null in 3 of 200 rows \(first in row 0\)"):
        load(export.assign(customer_id=export["customer_id"].where(export.index >= 3, None)), tmp_path)


def test_repeated_ids_are_shown(export: pd.DataFrame, tmp_path: Path) -> None:
    """The message names the column, the number of rows and the id."""
    first = export["customer_id"].iloc[0]
    with pytest.raises(ValueError, match=f"customer_id repeats an id in 1 of 200 rows.*{first}"):
        load(with_value(export, "customer_id", 50, first), tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("churned", 2, "churned is neither 0 nor 1 in 1 of 200 rows.*2"),
        ("churned", None, "churned is null in 1 of 200 rows"),
        ("monthly_spend", "12,50 EUR", "monthly_spend is not a number in 1 of 200 rows.*12,50 EUR"),
        ("tenure_months", "two years", "tenure_months is not a number in 1 of 200 rows.*two years"),
        ("is_enterprise", "maybe", "is_enterprise is neither true nor false in 1 of 200 rows.*maybe"),
        ("is_enterprise", None, "is_enterprise is neither true nor false in 1 of 200 rows"),
    ],
    ids=["other label", "no label", "amount as text", "tenure as text", "other flag", "no flag"],
)
def test_a_wrong_value_is_shown(export: pd.DataFrame, tmp_path: Path, column: str, value: object, text: str) -> None:
    """The message names the column, the number of rows and the value."""
    with pytest.raises(ValueError, match=text):
        load(with_value(export, column, 50, value), tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The loader does not invent data."""
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet: there is no such file"):
        load_churn_data(tmp_path / "nowhere.parquet")


def test_an_export_without_rows_is_an_error(export: pd.DataFrame, tmp_path: Path) -> None:
    """An empty export is a failed export."""
    with pytest.raises(ValueError, match="has no rows"):
        load(export.head(0), tmp_path)


@pytest.mark.parametrize("name", ["export.parquet", "export.csv"])
def test_a_damaged_file_is_an_error(export: pd.DataFrame, tmp_path: Path, name: str) -> None:
    """The message names a file that is truncated or has another format."""
    write_export(export, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if name.endswith(".parquet") else b"\xff\xfe\x00" + whole)
    with pytest.raises(ValueError, match=name):
        load_churn_data(tmp_path / name)


def test_another_kind_of_file_is_an_error(tmp_path: Path) -> None:
    """A file that is neither Parquet nor CSV is an error."""
    (tmp_path / "export.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"ends in \.parquet or \.csv"):
        load_churn_data(tmp_path / "export.xlsx")
