"""The table ``[steps]``: the image of the pipeline steps."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class StepsTable(Table):
    """``[steps]``: the image of the pipeline steps."""

    image: str = Field(
        default="sluice-step:latest", description="Image in which every pipeline step runs. A release names it by digest."
    )
