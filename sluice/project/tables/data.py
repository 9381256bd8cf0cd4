"""The table ``[data]``: where the training data and the holdout are, and how to read them."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Digest, ObjectPath, Table


class DataTable(Table):
    """``[data]``."""

    snapshot: str = Field(description="The training data: a path below the project or any fsspec URL.")
    holdout: str = Field(description="The fixed labelled holdout: a path below the project or any fsspec URL.")
    holdout_digest: Digest | None = Field(
        default=None, description="Digest that the holdout's bytes must have; None accepts any, once."
    )
    load: ObjectPath = Field(description="Function (path) -> DataFrame; raises where the data breaks its contract.")
    label: str = Field(description="Column with the label, 0 or 1.")
    id: str = Field(description="Column with the row's unique id; never a feature.")
    gate_fraction: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the holdout kept for the gate alone, by a hash of the id."
    )
    slices: dict[str, str] = Field(default={}, description="Name of a slice → pandas query that selects its rows.")
