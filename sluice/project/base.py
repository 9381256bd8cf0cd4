"""Types that the tables of sluice.toml share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

ObjectPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""``package.module:name``. Sluice imports it with the root of the project first on the import path."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:`` and 64 lower-case hexadecimal digits."""


class Table(BaseModel):
    """One table of sluice.toml. It is immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
