"""The table ``[drift]``: when a feature has drifted."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class DriftTable(Table):
    """``[drift]``: when a feature has drifted."""

    threshold: float = Field(
        default=0.2, gt=0, description="A feature has drifted only if its population stability index is above this."
    )
    alpha: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="A feature has drifted only if its p-value, adjusted over all features, is below this.",
    )
    least_rows: int = Field(default=500, ge=1, description="With fewer rows, the result is inconclusive.")
    columns: list[str] = Field(
        default=[],
        description="Features to compare. If empty: numeric and boolean features, and text features with at most 50 values.",
    )
