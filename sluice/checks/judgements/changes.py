"""Changed copies of rows: what would the model say if one thing were different?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from sluice.data.external_errors import external_call
from sluice.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

Change: TypeAlias = Mapping[str, Any] | Callable[[pd.DataFrame], pd.DataFrame]
"""Column → its new value, or a function of the column's old values; or a function from rows to changed rows."""

Contract: TypeAlias = "Callable[[pd.DataFrame], npt.ArrayLike]"
"""Rows → for each row whether it can occur."""


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRows:
    """Rows before and after a change, in the same order.

    Attributes:
        before: The rows that the change alters.
        after: The same rows with the change.
        unaltered: Number of rows that were left out because the change leaves them as they are.
        outside: Number of rows that were left out because they cannot occur, before or after the change.
    """

    before: pd.DataFrame
    after: pd.DataFrame
    unaltered: int
    outside: int

    def describe(self) -> str:
        """Return how many rows were left out; empty if none was."""
        parts = [(self.unaltered, "unaltered"), (self.outside, "outside of the contract")]
        counts = " and ".join(f"{count:,} {what}" for count, what in parts if count)
        return f"left out: {counts}" if counts else ""


def change_rows(check: str, rows: pd.DataFrame, change: Change, *, within: Contract | None = None) -> ChangedRows:
    """Apply a change to rows. Rows that it does not alter are left out, because they would pass every test of invariance.

    Args:
        check: Name of the verdict, for the messages.
        rows: The features.
        change: What changes.
        within: The contract of the data. Rows that it forbids, before or after the change, are left out.

    Raises:
        DataError: There are no such columns, the change returns other columns or other rows, it alters no row, the contract does
            not answer for each row, or the change or the contract raises an error.
    """
    before = rows.reset_index(drop=True)
    with external_call(f"{check}: the change raises an error", hint="Correct the function that changes the rows."):
        after = _apply(check, before.copy(), change)
    if list(after.columns) != list(before.columns) or len(after) != len(before):
        raise DataError(
            f"{check}: the change returns {len(after):,} rows with the columns {', '.join(map(str, after.columns))}",
            hint="Let the change return the same rows in the same order with the same columns.",
        )
    if not after.index.equals(before.index):
        raise DataError(
            f"{check}: the change returns rows in another order or with another index, so different rows would be compared",
            hint="Let the change return the same rows in the same order with the same index.",
        )
    altered = _find_altered(before, after)
    if not altered.any():
        raise DataError(
            f"{check}: the change alters none of the {len(before):,} rows",
            hint="Check the column and the new value of the change.",
        )
    kept = altered.copy()
    if within is not None:
        for frame in (before, after):
            with external_call(f"{check}: the contract (within) raises an error", hint="Correct the function of the contract."):
                allowed = within(frame.copy())
            kept &= _read_mask(check, allowed, len(before))
    return ChangedRows(before[kept], after[kept], int((~altered).sum()), int((altered & ~kept).sum()))


def _apply(check: str, rows: pd.DataFrame, change: Change) -> pd.DataFrame:
    """Return the changed rows. The given ones are a copy, so they may change."""
    if callable(change):
        found = change(rows)
        if not isinstance(found, pd.DataFrame):
            raise DataError(
                f"{check}: the change returns a {type(found).__name__} and no DataFrame", hint="Return the changed rows."
            )
        return found
    unknown = [column for column in change if column not in rows.columns]
    if unknown or not change:
        raise DataError(
            f"{check}: the rows have no column {', '.join(map(repr, unknown))}"
            if unknown
            else f"{check}: the change names no column",
            hint=f"The columns are {', '.join(map(str, rows.columns))}.",
        )
    for column, value in change.items():
        found = value(rows[column].copy()) if callable(value) else value
        if isinstance(found, pd.Series) and not found.index.equals(rows.index):
            raise DataError(
                f"{check}: the change of {column!r} has {len(found):,} values for {len(rows):,} rows, or another index, so "
                "values would be missing or belong to other rows",
                hint="Let the change return one value for each row, in the same order and with the same index.",
            )
        rows[column] = found
    return rows


def _find_altered(before: pd.DataFrame, after: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return for each row whether any value differs. Two missing values do not differ."""
    altered = np.zeros(len(before), dtype=np.bool_)
    for column in before.columns:
        old, new = before[column], after[column]
        same = (old.astype(object) == new.astype(object)).to_numpy(dtype=np.bool_)
        altered |= ~(same | (old.isna() & new.isna()).to_numpy(dtype=np.bool_))
    return altered


def _read_mask(check: str, mask: npt.ArrayLike, rows: int) -> npt.NDArray[np.bool_]:
    found = np.asarray(mask)
    if found.dtype != np.bool_ or found.shape != (rows,):
        raise DataError(
            f"{check}: the contract returns values of type {found.dtype} and shape {found.shape} for {rows:,} rows",
            hint="Let it return True or False for each row.",
        )
    return found
