"""The table ``[tests]``: where the suites of the four test layers are."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class TestsTable(Table):
    """``[tests]``: where the suites of the four layers lie."""

    code: str = Field(default="tests/code", description="Folder of layer 1's suite.")
    data: str = Field(default="tests/data", description="Folder of layer 2's suite.")
    model: str = Field(default="tests/model", description="Folder of layer 3's suite.")
    integration: str = Field(default="tests/integration", description="Folder of layer 4's suite.")
