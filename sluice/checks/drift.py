"""Has the data moved since training? Each feature's stability index against bins frozen on the reference, judged together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from sluice.errors import DataError
from sluice.statistics.psi import FeatureDrift, compare_features, estimate_psi, freeze_categories, freeze_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CATEGORIES = 50
"""A text column with more values than this is no category (a name, a date): its values change by themselves."""


@dataclass(frozen=True, slots=True)
class DriftResult:
    """What a comparison of two snapshots found.

    Attributes:
        features: Feature → its answer, in the order of the reference's columns.
        left_out: Columns that cannot be compared, with the reason.
    """

    features: dict[str, FeatureDrift]
    left_out: dict[str, str]

    @property
    def drifted(self) -> list[str]:
        """Features that have drifted, the largest index first."""
        moved = [name for name, answer in self.features.items() if answer.drifted]
        return sorted(moved, key=lambda name: -self.features[name].estimate.psi)

    @property
    def detail(self) -> str:
        """One sentence."""
        if self.drifted:
            told = ", ".join(f"{name} (PSI {self.features[name].estimate.psi:.2f})" for name in self.drifted[:3])
            more = len(self.drifted) - 3
            return f"drifted: {told}" + (f" and {more} more" if more > 0 else "")
        if not all(answer.conclusive for answer in self.features.values()):
            return "too few rows to say"
        return f"no drift in {len(self.features)} features"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "drifted": self.drifted,
            "detail": self.detail,
            "features": {name: dataclasses.asdict(answer) for name, answer in self.features.items()},
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
        reference: Features as they were at training.
        current: Features as they are, with the same columns.
        columns: Those to compare; empty for every one that is numeric, boolean, or text of few values.
        threshold: The index must be above it.
        alpha: The adjusted p-value must be below it.
        least_rows: With fewer rows nothing is said.

    Raises:
        DataError: A column that is to be compared is not in both, or holds nothing in the reference.
    """
    left_out: dict[str, str] = {}
    estimates = {}
    for name in columns or [str(column) for column in reference.columns]:
        for frame, what in ((reference, "reference"), (current, "current")):
            if name not in frame.columns:
                raise DataError(
                    f"the {what} snapshot has no column {name!r}",
                    hint="Compare snapshots of the same schema, or set drift.columns.",
                )
        reason = "" if columns else _reason_to_leave_out(reference[name])
        if reason:
            left_out[name] = reason
            continue
        before, now = reference[name], current[name]
        try:
            if _is_numeric(before):
                estimates[name] = estimate_psi(freeze_numeric(_numbers(before)), _numbers(now))
            else:
                estimates[name] = estimate_psi(freeze_categories(_objects(before)), _objects(now))
        except ValueError as error:
            raise DataError(f"column {name!r} cannot be compared: {error}", hint="Leave it out by drift.columns.") from error
    if not estimates:
        raise DataError("no column can be compared", hint="Name some in drift.columns.")
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
    return f"{values:,} different values" if values > MOST_CATEGORIES else ""


def _numbers(column: pd.Series[Any]) -> Any:  # noqa: ANN401 - numpy's
    return column.to_numpy(dtype="float64", na_value=float("nan"))


def _objects(column: pd.Series[Any]) -> Any:  # noqa: ANN401 - numpy's
    return column.astype(object).to_numpy()
