"""A local run as every engine describes a run, and its log. Pure functions of the run's record and events, except `read_log`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.gate_answers import read_answer, read_numbers
from sluice.engines.local.runs import LOG_FILE, summarise_steps
from sluice.engines.outcomes import exit_code_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def describe_run(document: Mapping[str, Any], events: Sequence[Mapping[str, Any]], *, now: float) -> RunStatus:
    """Describe a run.

    Args:
        document: The run's record.
        events: The events of its steps. They count while the record has no steps, because it gets them at the end.
        now: Seconds since the epoch.
    """
    steps = list(document.get("steps") or summarise_steps(events))
    waiting = {event["step"] for event in events if event["event"] == "waiting"}
    shown = tuple(_step(step, waiting=step["name"] in waiting) for step in steps)
    ended = document.get("ended") is not None
    outcome = str(document["outcome"])
    waits = next((step for step in shown if step.outcome == "waiting"), None)
    failed: Mapping[str, Any] = next((step for step in steps if step["outcome"] == "fail"), {})
    started = float(document["started"])
    release, gate = document.get("release") or {}, document.get("gate") or {}
    return RunStatus(
        summary=RunSummary(
            id=str(document["id"]),
            engine="local",
            pipeline=str(document["pipeline"]),
            outcome="waiting" if waits and not ended else outcome,
            release=str(release.get("number") or ""),
            gate=read_answer(gate),
            numbers=read_numbers(gate),
            started=started,
            seconds=(document["ended"] if ended else now) - started,
        ),
        steps=shown,
        ended=ended,
        reason=str(document.get("reason") or (waits.detail if waits else "")),
        hint=str(failed.get("hint") or ""),
        exit_code=exit_code_of(outcome, steps) if ended else 0,
    )


def _step(step: Mapping[str, Any], *, waiting: bool) -> StepStatus:
    outcome = str(step["outcome"])
    return StepStatus(
        id=str(step["name"]),
        name=str(step["name"]),
        outcome="waiting" if outcome == "running" and waiting else outcome,
        detail=str(step.get("error") or step.get("detail") or ""),
        started=step.get("started"),
        ended=step.get("ended"),
    )


def read_log(folder: Path, step: str = "") -> Iterator[str]:
    """Yield the lines of a run's log; with a step, those between its start and its end, as kfp.local marks them."""
    marked = not step
    with (folder / LOG_FILE).open(encoding="utf-8", errors="replace") as log:
        for raw in log:
            line = raw.rstrip("\n")
            plain = _COLOUR.sub("", line)
            if step and f"Executing task '{step}'" in plain:
                marked = True
            if marked:
                yield line
            if step and f"Task '{step}' finished" in plain:
                marked = False
