"""The project's CronWorkflow: as it must be, and what it says about itself. Pure functions of the object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.engines import ScheduleStatus
from sluice.engines.argo.api_server import MANAGER
from sluice.engines.argo.run_statuses import parse_time
from sluice.engines.argo.workflow_objects import PIPELINE_LABEL
from sluice.engines.cron_times import describe_missed, find_start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.engines import SchedulePlan

_FAILURES = frozenset({"SubmissionError", "SpecError"})


def plan_cron(
    compiled: Mapping[str, Any], plan: SchedulePlan, parameters: list[dict[str, Any]], *, paused: bool, runs_kept: int = 10
) -> dict[str, Any]:
    """Return the CronWorkflow.

    Args:
        compiled: The CronWorkflow that the compiler makes from the pipeline, with its name and labels.
        plan: The schedule.
        parameters: Arguments of each run, as `plan_arguments` returns them.
        paused: Whether it starts no runs.
        runs_kept: Number of ended runs that Argo keeps, of those that succeeded and of those that failed.
    """
    spec = {
        **compiled["spec"],
        "schedules": [plan.cron],
        "timezone": plan.timezone,
        "concurrencyPolicy": plan.concurrency,
        "startingDeadlineSeconds": plan.catch_up_seconds,
        "successfulJobsHistoryLimit": runs_kept,
        "failedJobsHistoryLimit": runs_kept,
        "suspend": paused,
    }
    if parameters:
        given = {each["name"]: each for each in parameters}
        arguments = spec["workflowSpec"].get("arguments", {}).get("parameters", [])
        merged = [given.get(each["name"], each) for each in arguments]
        spec["workflowSpec"] = {**spec["workflowSpec"], "arguments": {"parameters": merged}}
    return {**compiled, "spec": spec}


def describe_cron(cron: Mapping[str, Any], *, now: float) -> ScheduleStatus:
    """Describe a CronWorkflow.

    Args:
        cron: The object as it is stored.
        now: Seconds since the epoch.
    """
    metadata, spec, status = cron["metadata"], cron["spec"], cron.get("status") or {}
    # Argo before 3.6 has one `schedule`, and version 4 has only the list.
    expression = str((spec.get("schedules") or [spec.get("schedule", "")])[0])
    timezone, paused = str(spec.get("timezone") or ""), bool(spec.get("suspend"))
    last = parse_time(status.get("lastScheduledTime"))
    active = tuple(str(each["name"]) for each in status.get("active") or ())
    skips = paused or (active and spec.get("concurrencyPolicy") == "Forbid")  # then no run is the right thing
    return ScheduleStatus(
        id=str(metadata["name"]),
        engine="argo",
        pipeline=str((metadata.get("labels") or {}).get(PIPELINE_LABEL, "")),
        cron=expression,
        timezone=timezone,
        paused=paused,
        last=last,
        next=None if paused else find_start(expression, timezone, now, before=False),
        active=active,
        missed=_describe_problem(cron)
        or ("" if skips else describe_missed(expression, timezone, since=_changed_at(metadata), last=last, now=now)),
    )


def _changed_at(metadata: Mapping[str, Any]) -> float:
    """Return when this tool last changed the object; a start time before that is no missed one."""
    own = [each["time"] for each in metadata.get("managedFields") or () if each.get("manager") == MANAGER and each.get("time")]
    return max(filter(None, map(parse_time, [*own, metadata.get("creationTimestamp")])), default=0.0)


def _describe_problem(cron: Mapping[str, Any]) -> str:
    """Return what Argo says about a schedule that it cannot follow; empty if there is nothing."""
    status = cron.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") in _FAILURES and condition.get("status") == "True":
            return f"Argo cannot start it: {condition.get('message', condition['type'])}"
    return "Argo has stopped it, because its stopStrategy says so" if status.get("phase") == "Stopped" else ""
