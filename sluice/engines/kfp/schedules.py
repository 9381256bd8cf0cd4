"""The project's recurring run on KFP: as it must be, what it says about itself, and how it is created, changed and deleted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.engines import ScheduleStatus
from sluice.engines.cron_times import describe_missed, expand, find_start
from sluice.engines.kfp.connection import PAGE, calling
from sluice.engines.kfp.recorded_runs import ENDED
from sluice.engines.kfp.versions import named_filter
from sluice.errors import StateError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.engines import SchedulePlan
    from sluice.engines.kfp.versions import Version
    from sluice.project.tables.pipelines.kfp import KfpTable

    Found = list[dict[str, Any]]

MARK = "sluice: "
"""Begin of the description of a recurring run that this tool made. The plan follows as JSON."""

_CONCURRENT_RUNS = {"Allow": 10, "Forbid": 1}


@dataclass(frozen=True, slots=True)
class RecurringRuns:
    """The recurring runs of a project: the newest one counts, and older ones are disabled and only wait for their deletion.

    KFP deletes the Workflows of a recurring run together with it (seen on 2.17.0), so a run that waits for an approval would be
    lost. Therefore a recurring run with a run that goes on is never deleted.

    Attributes:
        client: The ``kfp.Client``.
        table: The settings.
        name: The name of the recurring runs.
    """

    client: Any
    table: KfpTable
    name: str

    def list(self) -> Found:
        """Return the recurring runs, newest first."""
        with calling(self.client, "list recurring runs"):
            answer = self.client.list_recurring_runs(
                page_size=PAGE, sort_by="created_at desc", namespace=self.table.namespace or None, filter=named_filter(self.name)
            )
        return [each.to_dict() for each in answer.recurring_runs or ()]

    def replace(self, known: Found, plan: SchedulePlan, version: Version, experiment: str) -> None:
        """Disable the known ones and then create one, so that two never start runs at once. A paused one stays paused."""
        paused = bool(known) and describe_recurring(known[0], last=None, now=0).paused
        with calling(self.client, "replace the recurring run"):
            for each in known:
                self.client.disable_recurring_run(each["recurring_run_id"])
            self.client.create_recurring_run(
                experiment,
                self.name,
                description=describe_plan(plan, version.name),
                cron_expression=to_cron(plan),
                max_concurrency=concurrent_runs(plan),
                no_catchup=True,
                params=dict(plan.arguments),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                enabled=not paused,
                pipeline_root=self.table.pipeline_root or None,
                service_account=self.table.service_account or None,
            )

    def clean_up(self, old: Found, runs: Found) -> None:
        """Delete the old ones, except those with a run that goes on.

        Args:
            old: Recurring runs that no longer count.
            runs: The last runs of the experiment.
        """
        with calling(self.client, "delete an old recurring run"):
            for each in old:
                if not find_active(runs, each["recurring_run_id"]):
                    self.client.delete_recurring_run(each["recurring_run_id"])

    def switch(self, *, paused: bool) -> str:
        """Disable or enable the newest one.

        Raises:
            StateError: There is none.
        """
        found = self.list()[:1]
        if not found:
            raise StateError(f"KFP has no recurring run {self.name}", hint="Create it with `sluice schedule apply`.")
        if describe_recurring(found[0], last=None, now=0).paused == paused:
            return "unchanged"
        with calling(self.client, "change the recurring run"):
            change = self.client.disable_recurring_run if paused else self.client.enable_recurring_run
            change(found[0]["recurring_run_id"])
        return "changed"

    def remove(self, runs: Found) -> str:
        """Delete all of them.

        Args:
            runs: The last runs of the experiment.

        Raises:
            StateError: One of their runs goes on.
        """
        found = self.list()
        if active := [run for each in found for run in find_active(runs, each["recurring_run_id"])]:
            raise StateError(
                f"run {active[0]} of the schedule goes on, and KFP would delete it together with the schedule",
                hint="`sluice schedule pause` keeps it from starting runs. Remove it when the run has ended or was cancelled.",
            )
        self.clean_up(found, runs)
        return "removed" if found else "unchanged"


def find_active(runs: Sequence[Mapping[str, Any]], recurring: str) -> list[str]:
    """Return the ids of the runs that a recurring run started and that have not ended."""
    return [str(run["run_id"]) for run in runs if run.get("recurring_run_id") == recurring and run.get("state") not in ENDED]


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
