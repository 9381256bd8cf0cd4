"""The table ``[tests]``: where the suites of the four test layers are, and which checks may be inconclusive."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from sluice.project.base import Table

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A text that is not empty."""


class TestsTable(Table):
    """``[tests]``: where the suites of the four test layers are, and which checks may be inconclusive."""

    code: str = Field(default="tests/code", description="Suite of layer 1, the code tests.")
    data: str = Field(default="tests/data", description="Suite of layer 2, the data tests.")
    model: str = Field(default="tests/model", description="Suite of layer 3, the model tests.")
    integration: str = Field(default="tests/integration", description="Suite of layer 4, the integration tests.")
    allow_inconclusive: dict[str, Reason] = Field(
        default={},
        description="Name of a check → why it may be inconclusive. Other inconclusive checks block production. `*` in a name "
        "stands for any characters.",
    )
