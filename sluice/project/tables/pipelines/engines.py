"""The table ``[engines]``: where pipelines run by default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.project.base import Table


class EnginesTable(Table):
    """``[engines]``: the engine that runs pipelines if a command names none."""

    default: Literal["local", "argo", "kfp"] = Field(
        default="local", description="Engine of `sluice submit` and `sluice schedule`: `local`, `argo` or `kfp`."
    )
