"""The table ``[gate]``: by how much a challenger must win, and how often the gate may be asked."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class GateTable(Table):
    """``[gate]``."""

    margin: float = Field(
        default=0.005, ge=0, lt=1, description="The challenger's AUC must exceed the champion's by more than this."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Chance of one false promotion over the whole budget.")
    budget: int = Field(default=52, ge=1, description="How often one holdout may be asked; alpha is split over it.")
