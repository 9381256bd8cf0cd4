"""Compare a snapshot with the training data, feature by feature, by the population stability index (PSI).

The bins are frozen on the reference, and the p-values are adjusted over all features.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from sluice.errors import DataError
from sluice.statistics.psi import FeatureDrift, build_category_reference, build_numeric_reference, compare_features, estimate_psi

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CATEGORIES = 50
"""A text column with more distinct values than this is not a category (for example a name). Its values always change."""


@dataclass(frozen=True, slots=True)
class DriftResult:
    """The result of comparing two snapshots.

    Attributes:
        features: Feature → its result, in the order of the reference's columns.
        left_out: Columns that cannot be compared, with the reason.
    """

    features: dict[str, FeatureDrift]
    left_out: dict[str, str]

    @property
    def drifted(self) -> list[str]:
        """The features that have drifted, the one with the largest index first."""
        names = [name for name, feature in self.features.items() if feature.drifted]
        return sorted(names, key=lambda name: -self.features[name].estimate.psi)

    @property
    def detail(self) -> str:
        """The result in one clause, for people."""
        if self.drifted:
            largest = ", ".join(f"{name} (PSI {self.features[name].estimate.psi:.2f})" for name in self.drifted[:3])
            more = len(self.drifted) - 3
            return f"drifted: {largest}" + (f" and {more} more" if more > 0 else "")
        if not all(feature.conclusive for feature in self.features.values()):
            return "too few rows to decide whether a feature has drifted"
        return f"none of {len(self.features)} features has drifted"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {
            "drifted": self.drifted,
            "detail": self.detail,
            "features": {name: dataclasses.asdict(feature) for name, feature in self.features.items()},
            "left_out": self.left_out,
        }


def compare_frames(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    columns: Sequence[str] = (),
    threshold: float,
    alpha: float,
    least_rows: int,
) -> DriftResult:
    """Compare two snapshots feature by feature.

    Args:
        reference: The features at training.
        current: The features now, with the same columns.
        columns: The columns to compare. If empty, all numeric and boolean columns are compared, and text columns with at most
            `MAX_CATEGORIES` distinct values.
        threshold: A feature has drifted only if its index is above this.
        alpha: A feature has drifted only if its adjusted p-value is below this.
        least_rows: With fewer rows in the current snapshot, no feature has drifted and the result is not conclusive.

    Raises:
        DataError: A column is missing in one of the snapshots, has no values in the reference, or cannot be compared.
    """
    left_out: dict[str, str] = {}
    estimates = {}
    for name in columns or [str(column) for column in reference.columns]:
        for frame, role in ((reference, "reference"), (current, "current")):
            if name not in frame.columns:
                raise DataError(
                    f"the {role} snapshot has no column {name!r}",
                    hint="Compare snapshots with the same columns, or list the columns that both have in drift.columns.",
                )
        reason = "" if columns else _reason_to_leave_out(reference[name])
        if reason:
            left_out[name] = reason
            continue
        before, now = reference[name], current[name]
        try:
            if _is_numeric(before):
                estimates[name] = estimate_psi(build_numeric_reference(_numbers(before)), _numbers(now))
            else:
                estimates[name] = estimate_psi(build_category_reference(_objects(before)), _objects(now))
        except ValueError as error:
            raise DataError(
                f"column {name!r} cannot be compared: {error}", hint="List the other columns in drift.columns."
            ) from error
    if not estimates:
        raise DataError("no column can be compared", hint="Name the columns to compare in drift.columns.")
    return DriftResult(compare_features(estimates, threshold=threshold, alpha=alpha, least_rows=least_rows), left_out)


def _is_numeric(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not bool(pd.api.types.is_bool_dtype(column))


def _reason_to_leave_out(column: pd.Series[Any]) -> str:
    if _is_numeric(column) or pd.api.types.is_bool_dtype(column):
        return "" if column.notna().any() else "empty in the reference"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "a date"
    values = column.dropna().nunique()
    if not values:
        return "empty in the reference"
    return f"{values:,} different values" if values > MAX_CATEGORIES else ""


def _numbers(column: pd.Series[Any]) -> Any:  # noqa: ANN401 - numpy's
    return column.to_numpy(dtype="float64", na_value=float("nan"))


def _objects(column: pd.Series[Any]) -> Any:  # noqa: ANN401 - numpy's
    return column.astype(object).to_numpy()
