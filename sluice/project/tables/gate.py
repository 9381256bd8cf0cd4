"""The table ``[gate]``: how much better a challenger must be, and how many questions a holdout allows."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class GateTable(Table):
    """``[gate]``: the rule for promoting a challenger."""

    margin: float = Field(
        default=0.005, ge=0, lt=1, description="The challenger's AUC must exceed the champion's AUC by more than this."
    )
    alpha: float = Field(
        default=0.05, gt=0, lt=1, description="Probability of any false promotion over all questions of the budget."
    )
    budget: int = Field(default=52, ge=1, description="Number of questions that one holdout may answer. alpha is divided by it.")
