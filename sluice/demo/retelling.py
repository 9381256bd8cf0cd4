"""The story that was played, as a report: each act's run with what its users saw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluice.engines.reports import list_releases
from sluice.report.collect import read_run
from sluice.report.results import Act, Fact, Report, RunResult
from sluice.rollout.requests import histories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.demo.player import Played
    from sluice.project.projects import Project


def retell(copy: Project, played: Sequence[Played]) -> Report:
    """One report of the whole story."""
    return Report(
        title=f"{copy.settings.project.name}: from commit to production, and back",
        generated=datetime.now(UTC),
        acts=tuple(_act(copy, part) for part in played),
        releases=list_releases(copy),
    )


def _act(copy: Project, played: Played) -> Act:
    return Act(
        title=played.act.title,
        run=read_run(played.run) if played.run else _by_hand(copy, played),
        expected=played.act.expect,
        met=played.as_expected,
        facts=tuple(_facts(played)),
    )


def _by_hand(copy: Project, played: Played) -> RunResult:
    """A rollback by hand has no run of a pipeline: its record is what the journal says of it."""
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


def _facts(played: Played) -> list[Fact]:
    seen = played.traffic
    if not seen.get("requests"):
        return []
    return [
        Fact(
            label="Requests from production",
            value=f"{seen['requests']:,}",
            detail=f"{seen['rate']} a second, p99 {seen['p99_ms']:.0f} ms",
        ),
        Fact(
            label="Failed at the stable release",
            value=str(seen["failed_stable"]),
            detail="as its users saw it",
            tone="good" if not seen["failed_stable"] else "bad",
        ),
        Fact(label="Failed in all", value=str(seen["failed"]), detail=f"of {seen['requests']:,} requests"),
    ]
