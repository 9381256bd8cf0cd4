"""The table ``[drift]``: when a feature, the scores or the champion's AUC have drifted."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import ObjectPath, Table


class DriftTable(Table):
    """``[drift]``: when a feature, the scores or the champion's AUC have drifted."""

    threshold: float = Field(
        default=0.2, gt=0, description="A feature has drifted only if its population stability index is above this."
    )
    alpha: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="A feature has drifted only if its p-value, adjusted over all features, is below this.",
    )
    least_rows: int = Field(
        default=500, ge=1, description="With fewer rows in the reference or in the present data, the result is inconclusive."
    )
    columns: list[str] = Field(
        default=[], description="Columns to compare. If empty: all, but dates and texts with over 1,000 values only in part."
    )
    leave_out: list[str] = Field(default=[], description="Columns that are not compared. The label and the id never are.")
    load: ObjectPath | None = Field(
        default=None,
        description="Function (path) -> DataFrame, or an iterator of them, that reads rows without labels. If it is not set, "
        "Parquet and CSV files are read as they are.",
    )
    auc_drop: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="By `--labels`, the champion has drifted only if its AUC has fallen by more than this since the gate.",
    )
