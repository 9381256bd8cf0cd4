"""The project's recurring run on KFP: as it must be, and what it says about itself. Pure functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice.engines import ScheduleStatus
from sluice.engines.cron_times import describe_missed, expand, find_start
from sluice.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.engines import SchedulePlan

MARK = "sluice: "
"""Begin of the description of a recurring run that this tool made. The plan follows as JSON."""

_CONCURRENT_RUNS = {"Allow": 10, "Forbid": 1}


def check_plan(plan: SchedulePlan, *, timezone: str) -> None:
    """Check that KFP can follow a schedule.

    Raises:
        UnsupportedError: It cannot.
    """
    if plan.concurrency not in _CONCURRENT_RUNS:
        raise UnsupportedError(
            f"KFP has no concurrency {plan.concurrency}: it cannot end a run because the next one is due",
            hint="Set schedule.concurrency to Forbid or Allow.",
        )
    if plan.timezone != timezone:
        raise UnsupportedError(
            f"schedule.timezone is {plan.timezone}, but KFP has one time zone for all schedules, which is {timezone} here",
            hint=f"Set schedule.timezone to {timezone}. If KFP's CRON_SCHEDULE_TIMEZONE is another one, set kfp.timezone to it.",
        )
    if plan.cron.startswith("@every"):
        raise UnsupportedError(f"KFP's schedules have no {plan.cron}", hint="Give five fields of a cron expression.")


def to_cron(plan: SchedulePlan) -> str:
    """Return the cron expression as KFP takes it: with a field for the seconds in front."""
    return f"0 {expand(plan.cron)}"


def concurrent_runs(plan: SchedulePlan) -> int:
    """Return how many runs KFP may have at the same time. With ``Forbid``, the next run waits until the last one has ended."""
    return _CONCURRENT_RUNS[plan.concurrency]


def describe_plan(plan: SchedulePlan, version: str) -> str:
    """Return the description of the recurring run. It says everything that a change of the schedule changes."""
    document = {
        "pipeline": plan.pipeline,
        "cron": plan.cron,
        "timezone": plan.timezone,
        "concurrency": plan.concurrency,
        "catch_up_seconds": plan.catch_up_seconds,
        "arguments": dict(plan.arguments),
        "version": version,
    }
    return MARK + json.dumps(document, sort_keys=True)


def describe_recurring(found: Mapping[str, Any], *, last: float | None, now: float) -> ScheduleStatus:
    """Describe a recurring run.

    Args:
        found: The answer of the API as plain JSON types.
        last: Start of its last run in seconds since the epoch.
        now: Seconds since the epoch.
    """
    plan = _read_plan(str(found.get("description") or ""))
    cron, timezone = str(plan.get("cron", "")), str(plan.get("timezone", "UTC"))
    paused = str(found.get("status") or found.get("mode")) not in {"ENABLED", "ENABLE"}
    changed = found.get("updated_at") or found.get("created_at")
    since = float(changed.timestamp()) if changed else 0.0
    error = str((found.get("error") or {}).get("message") or "")
    missed = "" if paused or not cron else describe_missed(cron, timezone, since=since, last=last, now=now)
    return ScheduleStatus(
        id=str(found["recurring_run_id"]),
        engine="kfp",
        pipeline=str(plan.get("pipeline", "")),
        cron=cron,
        timezone=timezone,
        paused=paused,
        last=last,
        next=None if paused or not cron else find_start(cron, timezone, now, before=False),
        missed=f"KFP cannot start it: {error}" if error else missed,
    )


def _read_plan(description: str) -> dict[str, Any]:
    try:
        document = json.loads(description.removeprefix(MARK)) if description.startswith(MARK) else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def find_last_start(runs: Sequence[Mapping[str, Any]], recurring: str) -> float | None:
    """Return the start of the last run that a recurring run started, in seconds since the epoch; None if there is none."""
    times = [run.get("scheduled_at") or run["created_at"] for run in runs if run.get("recurring_run_id") == recurring]
    return max((float(each.timestamp()) for each in times), default=None)
