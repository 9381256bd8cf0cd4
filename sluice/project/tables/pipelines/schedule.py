"""The table ``[schedule]``: when an engine starts a pipeline by itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sluice.project.base import Table


class ScheduleTable(Table):
    """``[schedule]``: the project's one schedule. `sluice schedule apply` brings it to the engine."""

    pipeline: str = Field(default="retrain", description="Name of the pipeline that is started.")
    cron: str = Field(
        default="17 4 * * 1",
        description="When it is started: five fields (minute, hour, day of the month, month, day of the week), or a short form "
        "such as `@weekly`.",
    )
    timezone: str = Field(default="UTC", description="Time zone of `cron`, for example `Europe/Berlin`.")
    concurrency: Literal["Allow", "Forbid", "Replace"] = Field(
        default="Forbid",
        description="What happens if the last run is still running: both run, no new one starts, or the new one replaces it.",
    )
    catch_up_seconds: int = Field(
        default=3600,
        ge=0,
        description="How late a run may still start, for example after the controller was down. With 0, no run starts late.",
    )
    arguments: dict[str, Any] = Field(default={}, description="Arguments of each run.")
