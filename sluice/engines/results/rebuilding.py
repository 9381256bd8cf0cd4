"""Rebuild the result of a run from the records that its steps put into artifacts. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.carried_records import read_lines
from sluice.engines.outcomes import APPROVAL, find_paths
from sluice.report.record_reader import collect_parts, parse_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.engines import RunStatus, StepStatus
    from sluice.report.results import RunResult

NO_RECORD = "its component has no output artifact `record`"
"""Why a step of another project's component has no record."""

STARTED = frozenset({"pass", "fail", "interrupted"})
"""Outcomes of steps that ran, so that they should have a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What was found of a step's record.

    Attributes:
        step: The engine's id of the step.
        text: The record; empty if there is none.
        problem: Why it is missing, or what is missing in it; empty if nothing is.
    """

    step: str
    text: str = ""
    problem: str = ""


def rebuild_result(status: RunStatus, records: Sequence[StepRecord]) -> RunResult:
    """Build the result that a report shows.

    Args:
        status: The run as its engine describes it. It says the outcome, and when which step ran.
        records: The records of its steps. What is missing becomes a note of the result.
    """
    found = {record.step: list(read_lines(record.text)) for record in records}
    parts = collect_parts(
        (str(line.get("part")), line.get("document")) for lines in found.values() for line in lines if line.get("part")
    )
    ran = sorted((step for step in status.steps if not step.is_group), key=lambda step: step.started or float("inf"))
    summary = status.summary
    ended = (
        summary.started + summary.seconds
        if status.ended and summary.started is not None and summary.seconds is not None
        else None
    )
    run = {
        "id": summary.id,
        "pipeline": summary.pipeline,
        "outcome": summary.outcome,
        "reason": status.reason,
        "started": summary.started,
        "ended": ended,
        "steps": [_describe(step, found.get(step.id, ())) for step in ran],
    }
    return parse_run(_code_of(parts) | parts | run, notes=_explain_gaps(status, records))


def _describe(step: StepStatus, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a step with the outcome and the times of the engine, and with what it said itself."""
    events = [event for line in lines if isinstance(event := line.get("event"), dict)]
    told = next((str(event["detail"]) for event in reversed(events) if event.get("detail")), "")
    return {
        "name": step.name,
        "outcome": step.outcome,
        "detail": told or step.detail,
        "started": step.started,
        "ended": step.ended,
    }


def _code_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commit of the release, because a run in a cluster knows no other."""
    manifest = (parts.get("release") or {}).get("manifest") or {}
    code = manifest.get("code") or {}
    return {"commit": code.get("commit"), "dirty": code.get("dirty")}


def _explain_gaps(status: RunStatus, records: Sequence[StepRecord]) -> list[str]:
    """Return one note for each reason why records are missing, with the steps that it concerns."""
    known = {record.step: record for record in records}
    paths = find_paths(status.steps)
    gaps: dict[str, list[str]] = {}
    for step in status.steps:
        if step.is_group or step.outcome not in STARTED or step.name == APPROVAL:
            continue
        record = known.get(step.id)
        problem = record.problem if record else NO_RECORD
        if problem:
            gaps.setdefault(problem, []).append(paths[step.id])
    return [f"{', '.join(names)}: what the step recorded is missing, because {reason}" for reason, names in gaps.items()]
