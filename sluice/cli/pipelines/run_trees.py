"""Show a run while it goes on: a live tree of its steps on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from sluice.engines import Engine, RunStatus, StepStatus

MARKS = {
    "pass": "[green]✓[/]",
    "fail": "[red]✗[/]",
    "running": "[cyan]●[/]",
    "waiting": "[yellow]…[/]",
    "pending": "[dim]○[/]",
    "skipped": "[dim]-[/]",
    "interrupted": "[yellow]✗[/]",
}
LOG_LINES = 40
"""Number of lines of a failed step's log that are shown."""

REFRESHES = 4
"""Refreshes of the tree per second. The durations of running steps count on between two changes of the run."""


def draw(status: RunStatus, *, now: float) -> RenderableType:
    """Return the tree of a run's steps, with the number of steps that have ended."""
    table = Table.grid(padding=(0, 2))
    longest = max((2 * step.depth + len(step.name) for step in status.steps), default=0)
    for width in (1, longest, 6):  # only the last column is cut where the terminal is narrow
        table.add_column(no_wrap=True, min_width=width)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for step in status.steps:
        table.add_row(*_row(step, now=now))
    steps = [step for step in status.steps if not step.is_group]
    done = sum(step.outcome in {"pass", "fail", "skipped", "interrupted"} for step in steps)
    seconds = f", {status.summary.seconds:.0f} s" if status.summary.seconds is not None else ""
    line = (
        f"[bold]{escape(status.summary.id)}[/]  {status.summary.outcome}, {done} of {len(steps)} known steps have ended{seconds}"
    )
    return Group(line, table)


def _row(step: StepStatus, *, now: float) -> tuple[str, str, str, str]:
    begun = step.started if step.outcome != "pending" else None
    seconds = "" if begun is None or step.outcome == "skipped" else f"{(step.ended or now) - begun:.0f} s"
    name = "  " * step.depth + escape(step.name)
    shown = f"[dim]{name}[/]" if step.is_group or step.outcome == "skipped" else name
    detail = "result of an earlier run" if step.cached else step.detail
    return MARKS.get(step.outcome, "•"), shown, f"[dim]{seconds:>6}[/]", f"[dim]{escape(detail)}[/]"


def follow(engine: Engine, run: str, console: Console) -> RunStatus:
    """Show a run until it ends, print the end of the log of each step that fails, and return its last status."""
    watched = engine.watch(run)
    with contextlib.closing(watched):
        if console.is_terminal:
            return _follow_live(engine, watched, console)
        return _follow_lines(engine, watched, console)


def _follow_live(engine: Engine, watched: Iterable[RunStatus], console: Console) -> RunStatus:
    last: RunStatus | None = None

    def render() -> RenderableType:
        return draw(last, now=time.time()) if last else "waiting for the engine …"

    told: set[str] = set()
    with Live(get_renderable=render, console=console, refresh_per_second=REFRESHES) as live:
        for status in watched:
            last = status
            live.refresh()
            for step in find_new_failures(status, told):
                show_failure(engine, status.summary.id, step, console)
    assert last is not None  # noqa: S101 - an engine yields a run at least once
    return last


def _follow_lines(engine: Engine, watched: Iterable[RunStatus], console: Console) -> RunStatus:
    last: RunStatus | None = None
    seen: dict[str, str] = {}
    told: set[str] = set()
    for status in watched:
        last = status
        for step in status.steps:
            if step.outcome != seen.get(step.id) and step.outcome != "pending":
                seen[step.id] = step.outcome
                mark, name, seconds, detail = _row(step, now=step.ended or time.time())
                console.print(
                    f"  {mark} {name}  {seconds if step.ended else '':>6}  {step.outcome}  {detail}".rstrip(), soft_wrap=True
                )
        for step in find_new_failures(status, told):
            show_failure(engine, status.summary.id, step, console)
    assert last is not None  # noqa: S101 - an engine yields a run at least once
    return last


def find_new_failures(status: RunStatus, told: set[str]) -> list[StepStatus]:
    """Return the steps that have failed and are not in `told`, and add them to it."""
    found = [step for step in status.steps if step.outcome == "fail" and not step.is_group and step.id not in told]
    told |= {step.id for step in found}
    return found


def show_failure(engine: Engine, run: str, step: StepStatus, console: Console) -> None:
    """Print the last lines of a failed step's log. A log that cannot be read is one line and no error."""
    try:
        lines = list(engine.logs(run, step.name))
    except SluiceError as error:
        lines = [f"(its log cannot be read: {error.message})"]
    left_out = f", the last {LOG_LINES} of {len(lines)} lines" if len(lines) > LOG_LINES else ""
    console.print(f"[red]✗[/] log of [bold]{escape(step.name)}[/]{left_out}", soft_wrap=True)
    for line in lines[-LOG_LINES:]:
        console.print(f"  │ {escape(line)}", soft_wrap=True)
