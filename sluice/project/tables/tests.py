"""The table ``[tests]``: where the suites of the four test layers are."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class TestsTable(Table):
    """``[tests]``: where the suites of the four test layers are."""

    code: str = Field(default="tests/code", description="Suite of layer 1, the code tests.")
    data: str = Field(default="tests/data", description="Suite of layer 2, the data tests.")
    model: str = Field(default="tests/model", description="Suite of layer 3, the model tests.")
    integration: str = Field(default="tests/integration", description="Suite of layer 4, the integration tests.")
