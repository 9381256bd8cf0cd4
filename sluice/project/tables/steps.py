"""The table ``[steps]``: the image of the pipeline steps."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class StepsTable(Table):
    """``[steps]``."""

    image: str = Field(default="sluice-step:latest", description="Image that every step runs in; a release names it by digest.")
