"""What a plot of the rollout's stack is made of, and the evidence among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, coordinate, line_path
from sluice.report.charts.series import thin_points
from sluice.report.formats import format_number, format_words
from sluice.report.text import read_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.report.results import Rollout, Sample

DEFAULT_EVIDENCE = 100.0
"""e-value at which a canary is condemned, where the record does not say (the design's rule)."""

HEIGHT = Scale(0.0, 100.0, 100.0, 0.0)

_LEAST_E = 0.01
_MOST_POINTS = 320


@dataclass(frozen=True, slots=True)
class Arm:
    """One release in the plot.

    Attributes:
        digest: The release.
        name: Its name for a person.
        role: ``canary``, ``stable`` or ``other``: chooses colour and dashes.
        part: What it is in this rollout, in words.
    """

    digest: str
    name: str
    role: str
    part: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A release's name written into its area, at per cent of the plot."""

    left: float
    top: float
    text: str
    role: str


@dataclass(frozen=True, slots=True)
class Line:
    """Path data of one arm's line."""

    role: str
    path: str
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point by itself: drawn as a disc that a stretched plot leaves round."""

    role: str
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of the stack; y coordinates in per cent from the top, paths in a viewBox of 1000 x 100.

    Attributes:
        key: ``traffic``, ``errors``, ``evidence`` or ``latency``.
        title: What is plotted.
        note: How to read it.
        areas: Filled shapes, in drawing order.
        lines: Lines, in drawing order.
        ticks: Of the y axis.
        rule: A threshold to draw across, if there is one.
        description: The same in words.
        tags: Names written into areas.
        dots: Points by themselves, over the lines.
    """

    key: str
    title: str
    note: str
    areas: tuple[Line, ...]
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    rule: Tick | None
    description: str
    tags: tuple[Tag, ...] = ()
    dots: tuple[Dot, ...] = ()


def place_dot(role: str, time: float, value: float, x: Scale, y: Scale, title: str) -> Dot:
    """A disc at a point of the plot: a line of no length with a round end."""
    spot = f"{coordinate(x.place(time))} {coordinate(y.place(value))}"
    return Dot(role, f"M{spot}L{spot}", title)


def sample_time(sample: Sample) -> float:
    """When a sample was taken; samples without a time are not among a rollout's."""
    return sample.time or 0.0


def draw_evidence(rollout: Rollout, samples: Sequence[Sample], x: Scale) -> Panel | None:
    """The e-value on a log scale, below the line at which the canary is condemned.

    The last step up is seldom sampled: a decision is made within a tenth of a second. So what each decision saw is drawn as well,
    as a point of the line and as a dot.
    """
    seen = [(sample_time(sample), sample.e_value) for sample in samples if sample.e_value is not None and sample.e_value >= 0]
    decided = _values_at_decisions(rollout, x)
    values = sorted([*seen, *((time, value) for time, value, _ in decided)])
    if not values:
        return None
    limit = _limit_of(rollout)
    highest = max(value for _, value in values)
    decades = range(round(math.log10(_LEAST_E)), math.ceil(math.log10(max(highest, limit) * 3)) + 1)
    y = Scale(decades[0], decades[-1], 100.0, 0.0)
    logs = [(time, math.log10(max(value, _LEAST_E))) for time, value in values]
    ends = thin_points(logs, most=_MOST_POINTS)
    path = line_path(ends, x, y)
    every = -(-len(decades) // 4)
    shown = [decade for decade in decades if decade % every == 0]
    return Panel(
        key="evidence",
        title="Evidence against the canary",
        note="e-value, log scale; dots: as decided on",
        areas=(Line("canary", f"{path}L{x.place(ends[-1][0]):.1f} 100L{x.place(ends[0][0]):.1f} 100Z", ""),),
        lines=(Line("canary", path, ""),),
        ticks=tuple(Tick(y.place(decade), f"{10.0**decade:g}" if abs(decade) < 4 else f"1e{decade}") for decade in shown),  # noqa: PLR2004
        dots=tuple(place_dot("canary", time, math.log10(max(value, _LEAST_E)), x, y, title) for time, value, title in decided),
        rule=Tick(y.place(math.log10(limit)), f"condemned at e ≥ {limit:g}"),
        description=f"Evidence against the canary: e-value, highest {format_number(highest)}; it is condemned at {limit:g}.",
    )


def _limit_of(rollout: Rollout) -> float:
    for name in ("evidence_threshold", "evidence_limit", "condemn_at"):
        value = rollout.numbers.get(name)
        if isinstance(value, int | float) and value > 1:
            return float(value)
    return DEFAULT_EVIDENCE


def _values_at_decisions(rollout: Rollout, x: Scale) -> list[tuple[float, float, str]]:
    """The e-value that each decision saw, with a title."""
    found = []
    for transition in rollout.transitions:
        value, moment = read_number(transition.evidence.get("e_value")), transition.decided
        looked = read_number(transition.evidence.get("canary_requests")) != 0  # before its first request it has nothing to say
        if looked and value is not None and value >= 0 and moment is not None and x.low <= moment <= x.high:
            found.append((moment, value, f"{format_words(transition.to)}: e-value {format_number(value)}"))
    return found
