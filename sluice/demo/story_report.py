"""Make a report of the story that was played: the run of each act, with what its users saw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluice.engines.run_reports import list_releases
from sluice.report.record_reader import read_run
from sluice.report.results import Act, Fact, Report, RunResult
from sluice.rollout.requests import histories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.demo.player import PlayedAct
    from sluice.project.projects import Project


def make_story_report(copy: Project, played: Sequence[PlayedAct]) -> Report:
    """Return one report of all acts that were played."""
    return Report(
        title=f"{copy.settings.project.name}: from commit to production, and back",
        generated=datetime.now(UTC),
        acts=tuple(_act(copy, act) for act in played),
        releases=list_releases(copy),
    )


def _act(copy: Project, played: PlayedAct) -> Act:
    return Act(
        title=played.act.title,
        run=read_run(played.run) if played.run else _manual_rollback(copy, played),
        expected=played.act.expect,
        met=played.as_expected,
        facts=tuple(_facts(played)),
    )


def _manual_rollback(copy: Project, played: PlayedAct) -> RunResult:
    """Return the record of a rollback by a person. Such a rollback has no pipeline run, so the record comes from the journal."""
    return RunResult.model_validate(
        {
            "id": f"by-hand-{played.number}",
            "pipeline": "rollback",
            "outcome": played.outcome,
            "reason": played.detail,
            "started": played.started,
            "ended": played.ended,
            "rollout": histories.read_period(copy, since=played.started, until=played.ended) | {"numbers": played.numbers},
        }
    )


def _facts(played: PlayedAct) -> list[Fact]:
    seen = played.traffic
    if not seen.get("requests"):
        return []
    return [
        Fact(
            label="Requests from production",
            value=f"{seen['requests']:,}",
            detail=f"{seen['rate']} per second, p99 {seen['p99_ms']:.0f} ms",
        ),
        Fact(
            label="Failed requests at stable",
            value=str(seen["failed_stable"]),
            detail="as the users saw it",
            tone="ok" if not seen["failed_stable"] else "bad",
        ),
        Fact(label="Failed requests in all", value=str(seen["failed"]), detail=f"of {seen['requests']:,} requests"),
    ]
