"""The parts of a panel. A panel is one plot in the rollout chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, coordinate

if TYPE_CHECKING:
    from sluice.report.results import Sample

HEIGHT = Scale(0.0, 100.0, 100.0, 0.0)
"""Scale from per cent of the traffic to the y coordinate of a panel."""

MAX_POINTS = 320
"""Largest number of points of one line."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One release in the chart.

    Attributes:
        digest: The release's digest.
        name: The release's name.
        role: ``canary``, ``stable`` or ``other``. It chooses colour and dashes.
        part: What the release is in this rollout, as a person reads it.
    """

    digest: str
    name: str
    role: str
    part: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A release's name inside its area. Its position is per cent of the plot."""

    left: float
    top: float
    text: str
    role: str


@dataclass(frozen=True, slots=True)
class Line:
    """Path data of a line or an area that belongs to one release."""

    role: str
    path: str
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A single point. It is drawn so that it stays round although the plot is stretched."""

    role: str
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of the rollout chart. Its y coordinates are per cent from the top, and its paths use a viewBox of 1000 x 100.

    Attributes:
        key: ``traffic``, ``errors``, ``evidence`` or ``latency``.
        title: What is plotted.
        note: How to read it.
        areas: Filled shapes, in drawing order.
        lines: Lines, in drawing order.
        ticks: Ticks of the y axis.
        threshold: A threshold, drawn as a line across the plot; None if there is none.
        description: The content of the plot in words.
        tags: Names inside areas.
        dots: Single points, drawn over the lines.
    """

    key: str
    title: str
    note: str
    areas: tuple[Line, ...]
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    threshold: Tick | None
    description: str
    tags: tuple[Tag, ...] = ()
    dots: tuple[Dot, ...] = ()


def place_dot(role: str, time: float, value: float, x: Scale, y: Scale, title: str) -> Dot:
    """Return a dot at a point of the plot. Its path is a line of no length, which CSS gives a round end."""
    spot = f"{coordinate(x.place(time))} {coordinate(y.place(value))}"
    return Dot(role, f"M{spot}L{spot}", title)


def sample_time(sample: Sample) -> float:
    """Return when a sample was taken. Every sample of a `Rollout` has a time."""
    return sample.time or 0.0
