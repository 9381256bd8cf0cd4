"""The start times of a cron expression: when a schedule starts its next run, and which start it has missed. Pure functions."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_SHORT_FORMS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
GRACE_SECONDS = 180.0
"""How late a run may start before its start counts as missed. Controllers look at schedules every 10 to 60 seconds."""


def expand(cron: str) -> str:
    """Return the five fields that a short form stands for. Any other text stays as it is."""
    return _SHORT_FORMS.get(cron, cron)


def find_start(cron: str, timezone: str, at: float, *, before: bool) -> float | None:
    """Return the next start time after a time, or the last one before it, in seconds since the epoch.

    Args:
        cron: The cron expression.
        timezone: Its time zone.
        at: Seconds since the epoch.
        before: Whether to look for the last start time before `at`.

    Returns:
        None if the expression has no fixed start times (``@every 2h``), or if it cannot be read.
    """
    try:
        zone = zoneinfo.ZoneInfo(timezone or "UTC")
        found = next(CronSim(expand(cron), datetime.fromtimestamp(at, zone), reverse=before))
    except (CronSimError, StopIteration, zoneinfo.ZoneInfoNotFoundError):
        return None
    return float(found.timestamp())


def describe_missed(cron: str, timezone: str, *, since: float, last: float | None, now: float) -> str:
    """Return what a schedule has missed; empty if nothing.

    Args:
        cron: The cron expression.
        timezone: Its time zone.
        since: When the schedule got its present form or was resumed.
        last: When it last started a run; None if it has not yet.
        now: Seconds since the epoch.
    """
    due = find_start(cron, timezone, now - GRACE_SECONDS, before=True)
    if due is None or due < since or (last is not None and last >= due - 1):
        return ""
    text = datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"no run started at {text}"
