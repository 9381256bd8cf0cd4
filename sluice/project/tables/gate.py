"""The table ``[gate]``: how much better a challenger must be, how many questions a holdout allows, and where they are counted."""

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
    config_map: str = Field(
        default="",
        pattern=r"^([a-z0-9.-]+/)?[a-z0-9.-]+$|^$",
        description="ConfigMap that holds the gate's ledger in a cluster, as `name` or `namespace/name`. "
        "If empty, the ledger is a file in the state folder.",
    )
    budget: int = Field(default=52, ge=1, description="Number of questions that one holdout may answer. alpha is divided by it.")
