"""The table ``[drift]``: when a feature counts as drifted."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class DriftTable(Table):
    """``[drift]``: when a feature counts as drifted."""

    threshold: float = Field(default=0.2, gt=0, description="The population stability index must be above it.")
    alpha: float = Field(default=0.01, gt=0, lt=1, description="The p-value, adjusted over all features, must be below it.")
    least_rows: int = Field(default=500, ge=1, description="With fewer rows nothing is said.")
    columns: list[str] = Field(
        default=[], description="Features to compare; empty: those that are numeric, boolean, or text of at most 50 values."
    )
