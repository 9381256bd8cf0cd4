"""The project's schedule as `[schedule]` of sluice.toml describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.argo.objects.schedules import check_schedule, check_timezone
from sluice.engines import SchedulePlan
from sluice.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from sluice.project.projects import Project


def read_plan(project: Project) -> SchedulePlan:
    """Return the schedule of a project.

    Raises:
        ConfigurationError: The pipeline does not exist, or the cron expression or the time zone is not valid.
    """
    table = project.settings.schedule
    known = project.settings.pipelines
    if table.pipeline not in known:
        raise ConfigurationError(
            f"schedule.pipeline is {table.pipeline!r}, but the pipelines are: {', '.join(sorted(known)) or 'none'}",
            hint="Set schedule.pipeline in sluice.toml to one of them.",
        )
    try:
        check_schedule(table.cron)
        check_timezone(table.timezone)
    except UsageError as error:
        raise ConfigurationError(f"[schedule] is not valid: {error.message}", hint=error.hint) from error
    return SchedulePlan(
        pipeline=table.pipeline,
        cron=table.cron,
        timezone=table.timezone,
        concurrency=table.concurrency,
        catch_up_seconds=table.catch_up_seconds,
        arguments=dict(table.arguments),
    )
