"""The steps of a run over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, nice_ticks
from sluice.report.formatting import format_duration

if TYPE_CHECKING:
    from sluice.report.results import RunResult, Step

_MIN_WIDTH = 0.4
"""Width in per cent below which a bar could not be seen."""

_MIN_ROOM, _MAX_ROOM = 8.0, 46.0
"""Widths in per cent of the room for what a step said: with less, nothing of it could be read, and more is never taken."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one step.

    Attributes:
        step: The step.
        left: Where the bar starts, in per cent of the run.
        width: Its width in per cent of the run; None if the step's times are unknown.
        duration: How long the step took, as a person reads it.
        before: Whether there is more room for what the step said before its bar than after it.
        room: The width of that room in per cent of the run; 0 if nothing could be read there.
    """

    step: Step
    left: float
    width: float | None
    duration: str
    before: bool = False
    room: float = _MAX_ROOM

    @property
    def note_edge(self) -> float:
        """Where the room for what the step said begins, in per cent from the left, or from the right if it is before the bar."""
        return 100.0 - self.left if self.before else self.left + (self.width or 0.0)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bars of all steps in the order of their starts, and the ticks below them in per cent."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def draw_timeline(run: RunResult) -> Timeline | None:
    """Return the timeline of a run; None if no step is known. The bar of a step without an end reaches to the end of the run."""
    if not run.steps:
        return None
    starts = [step.started for step in run.steps if step.started is not None]
    ends = [moment for step in run.steps for moment in (step.started, step.ended) if moment is not None]
    if run.ended is not None:
        ends.append(run.ended)
    if not starts or max(ends) <= min(starts):
        return Timeline(tuple(Bar(step, 0.0, None, format_duration(step.duration)) for step in run.steps), ())
    first, last = min(starts), max(ends)
    scale = Scale(first, last, 0.0, 100.0)
    steps = sorted(run.steps, key=lambda step: (step.started is None, step.started or 0.0))
    seconds = nice_ticks(0.0, last - first, max_intervals=6)
    return Timeline(
        tuple(_draw_bar(step, scale) for step in steps),
        tuple(Tick(scale.place(first + second), format_duration(second) if second else "0") for second in seconds),
    )


def _draw_bar(step: Step, scale: Scale) -> Bar:
    if step.started is None:
        return Bar(step, 0.0, None, format_duration(None))
    left = scale.place(step.started)
    right = scale.place(step.ended if step.ended is not None else scale.high)
    width = max(right - left, _MIN_WIDTH)
    left = min(left, 100.0 - width)
    after = 100.0 - left - width
    room = min(max(left, after), _MAX_ROOM)
    return Bar(step, left, width, format_duration(step.duration), before=left > after, room=room if room >= _MIN_ROOM else 0.0)
