"""The table ``[project]``: the name of the project and its own Python packages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from sluice.project.base import Table


class ProjectTable(Table):
    """``[project]``: the name and the packages of the project."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")] = Field(
        description="Name of the project. Its releases and its objects in a cluster have this name."
    )
    packages: list[str] = Field(
        default=[],
        description="Folders with the Python code that the fitted model needs to load. A release contains them.",
    )
