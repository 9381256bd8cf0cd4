"""The bodies of messages. They say why a retraining should start. An unknown field is refused, so none can name data."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=500)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DriftBody(_Body):
    """The body of ``POST /events/drift``."""

    columns: list[Annotated[str, StringConstraints(max_length=200)]] = Field(
        default=[], max_length=100, description="The columns that have drifted."
    )
    reason: Text = Field(default="", description="What was seen, for people.")


class CodeBody(_Body):
    """The body of ``POST /events/code``. The run uses the code that the engine has; the commit is for the record."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] = Field(
        description="The commit, as 40 (SHA-1) or 64 (SHA-256) hexadecimal digits."
    )
    reason: Text = Field(default="", description="What was changed, for people.")


BODIES: dict[str, type[DriftBody | CodeBody]] = {"drift": DriftBody, "code": CodeBody}
"""Kind of an event → its body."""


class StartedBody(BaseModel):
    """The answer to a message that started a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str = Field(description="Id of the run. It waits for the same tests, gate and approval as every run.")
    pipeline: str = Field(description="The pipeline.")
    event: str = Field(description="`drift` or `code`.")
    key: str = Field(description="The idempotency key of the message.")
