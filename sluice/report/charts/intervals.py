"""An interval drawn with its threshold: the estimate, its uncertainty, and the side of the threshold that passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale
from sluice.report.formatting import format_interval, format_level, format_number, format_threshold

if TYPE_CHECKING:
    from sluice.verdicts import Verdict

WIDTH = 200
"""Width of the viewBox, in its own units."""

_EDGE = 6
_MARGIN = 0.18


@dataclass(frozen=True, slots=True)
class IntervalDrawing:
    """The drawing of one verdict, in coordinates from 0 to `WIDTH`.

    Attributes:
        low: Lower end of the interval; equal to `high` if there is no interval.
        high: Upper end of the interval.
        point: The observed value.
        threshold: What the value was compared with; None if there is no threshold.
        zone: Start and end of the side that passes; None if neither side passes as a whole.
        zero: Position of zero, for a difference; otherwise None.
        description: The content of the drawing in words.
    """

    low: float
    high: float
    point: float
    threshold: float | None
    zone: tuple[float, float] | None
    zero: float | None
    description: str


def draw_interval(verdict: Verdict, *, show_zero: bool = False) -> IntervalDrawing | None:
    """Return the drawing of a verdict.

    Args:
        verdict: The verdict.
        show_zero: Whether to mark zero, for a difference.

    Returns:
        None if there is no observed value, or neither an interval nor a threshold to compare it with.
    """
    if verdict.observed is None or (verdict.interval is None and not verdict.comparison.startswith((">", "<"))):
        return None
    ends = [verdict.interval.low, verdict.interval.high] if verdict.interval else []
    values = [verdict.observed, *ends, *_bounds(verdict), *([0.0] if show_zero else [])]
    span = max(values) - min(values)
    if span <= 0:
        return None
    scale = Scale(min(values) - _MARGIN * span, max(values) + _MARGIN * span, _EDGE, WIDTH - _EDGE)
    low, high = (scale.place(end) for end in ends) if ends else (scale.place(verdict.observed),) * 2
    return IntervalDrawing(
        low=low,
        high=high,
        point=scale.place(verdict.observed),
        threshold=None if verdict.threshold is None else scale.place(verdict.threshold),
        zone=_passing_zone(verdict, scale),
        zero=scale.place(0.0) if show_zero else None,
        description=_describe(verdict),
    )


def _bounds(verdict: Verdict) -> list[float]:
    return [bound for bound in (verdict.threshold, verdict.upper) if bound is not None]


def _passing_zone(verdict: Verdict, scale: Scale) -> tuple[float, float] | None:
    if verdict.threshold is None:
        return None
    at = scale.place(verdict.threshold)
    if verdict.upper is not None:
        return at, scale.place(verdict.upper)
    if verdict.comparison.startswith(">"):
        return at, scale.end + _EDGE
    return (scale.start - _EDGE, at) if verdict.comparison.startswith("<") else None


def _describe(verdict: Verdict) -> str:
    text = f"observed {format_number(verdict.observed)}"
    if verdict.interval:
        text += f", {format_level(verdict.interval.level)} interval {format_interval(verdict.interval)}"
    return f"{text}, must be {format_threshold(verdict)}" if verdict.threshold is not None else text
