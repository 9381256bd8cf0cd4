"""The table ``[demo]``: the story that `sluice demo` plays."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import ObjectPath, Table


class DemoTable(Table):
    """``[demo]``: the story of `sluice demo`."""

    story: ObjectPath | None = Field(default=None, description="The story that `sluice demo` plays.")
