"""The table ``[steps]``: the image and the environment of the pipeline steps."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from sluice.project.base import Table

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REPLACED = ("{{$", "$(")
"""Beginnings of texts that KFP or Kubernetes replaces in the value of a variable."""


class StepsTable(Table):
    """``[steps]``: the image and the environment of the pipeline steps."""

    image: str = Field(
        default="sluice-step:latest", description="Image in which every pipeline step runs. A release names it by digest."
    )
    env: dict[str, str] = Field(
        default={},
        description="Environment variables of the project's own steps in a cluster, on Argo and on KFP. Never a secret, because "
        "everyone who sees the pipeline sees the values.",
    )

    @field_validator("env")
    @classmethod
    def _is_literal(cls, env: dict[str, str]) -> dict[str, str]:
        """Check that each name is a variable's name, and that no cluster replaces a part of a value."""
        for name, value in env.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of an environment variable")
            if found := [part for part in _REPLACED if part in value]:
                raise ValueError(f"the value of {name} contains {found[0]!r}, which a cluster would replace by something else")
        return env
