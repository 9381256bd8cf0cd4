"""Scales, ticks and SVG path data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point = tuple[float, float | None]
"""x and y in the data's units. A y of None interrupts the line."""

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale from data to a coordinate.

    Attributes:
        low: The value at `start`.
        high: The value at `end`. It must differ from `low`.
        start: The coordinate of `low`.
        end: The coordinate of `high`. It is less than `start` for an axis that points up.
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the coordinate of a value. A value outside the scale gets the coordinate of the nearest end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis. Its position is a coordinate of the plot or per cent. A narrow screen hides a minor tick."""

    at: float
    label: str
    minor: bool = False


def coordinate(value: float) -> str:
    """Format a coordinate with at most one decimal, so that paths are short and the same on every machine."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def nice_ceiling(value: float) -> float:
    """Return the smallest of 1, 2, 2.5 or 5 times a power of ten that is not below `value`, which must be above 0."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))


def nice_ticks(low: float, high: float, *, max_intervals: int) -> list[float]:
    """Return round, evenly spaced values from `low` to `high`: at most `max_intervals` intervals between them."""
    if not low < high:
        return [low]
    step = nice_ceiling((high - low) / max_intervals)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def line_path(points: Iterable[Point], x: Scale, y: Scale) -> str:
    """Return the path data of a line. A missing y makes a gap, and a point between two gaps becomes a line of no length."""
    parts: list[str] = []
    pen_down = False
    for place, value in points:
        if value is None:
            pen_down = False
            continue
        spot = f"{coordinate(x.place(place))} {coordinate(y.place(value))}"
        parts.append(f"L{spot}" if pen_down else f"M{spot}L{spot}")
        pen_down = True
    return "".join(parts)


def step_path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the path data of a line that keeps each value until the next point."""
    parts: list[str] = []
    for place, value in points:
        at = coordinate(x.place(place))
        height = coordinate(y.place(value))
        parts.append(f"H{at}V{height}" if parts else f"M{at} {height}")
    return "".join(parts)


def area_path(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the path data of the area between two step lines that cover the same span."""
    if not upper or not lower:
        return ""
    back = [(coordinate(x.place(place)), coordinate(y.place(value))) for place, value in reversed(lower)]
    parts = [step_path(upper, x, y), f"L{back[0][0]} {back[0][1]}"]
    # On the way back, a step first changes its height at the later point and then runs along. Forwards it is the opposite.
    parts += [f"V{height}H{at}" for at, height in back[1:]]
    return "".join(parts) + "Z"
