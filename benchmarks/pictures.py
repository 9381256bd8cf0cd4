"""Draw measured error rates beside what is promised, as one SVG file that the documentation shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from sluice.statistics.proportions import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEFT, _PLOT, _RIGHT, _ROW, _TOP, _FOOT = 430, 420, 170, 26, 6, 50
_LEGEND = "Dot: observed rate. Bar: 95 % interval. Short line: promise. "
_TICKS = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened in a simulation.

    Attributes:
        group: The decision that the rate belongs to, for example ``Gate``.
        case: What was simulated.
        hits: How often it happened.
        trials: Number of simulations.
        limit: The promised rate; None if nothing is promised, for example for a naive rule that is shown for comparison.
        at_least: Whether the rate must be at least the limit. Otherwise it must be at most the limit.
    """

    group: str
    case: str
    hits: int
    trials: int
    limit: float | None = None
    at_least: bool = False

    @property
    def value(self) -> float:
        """The observed rate."""
        return self.hits / self.trials

    @property
    def promise(self) -> str:
        """The promise in words; empty if there is none."""
        return "" if self.limit is None else f"{'at least' if self.at_least else 'at most'} {write_rate(self.limit, 0)}"

    @property
    def kept(self) -> bool:
        """Whether the observed rate keeps the promise."""
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)


def write_rate(rate: float, digits: int) -> str:
    """Return a rate as per cent, as the documentation writes it."""
    return f"{100 * rate:.{digits}f} %"


def draw_rates(rates: Sequence[Rate], *, source: str) -> str:
    """Return an SVG picture: one row for each rate, with its 95 % Wilson interval and its promise.

    The axis shows the square root of the rate, because most rates are small.

    Args:
        rates: The rates. Rows of one group stand together under the name of the group.
        source: The command that produced the numbers. It is written under the plot.
    """
    parts: list[str] = []
    y = _TOP
    for group in dict.fromkeys(rate.group for rate in rates):
        y += _ROW
        parts.append(f'<text x="8" y="{y}" class="group">{escape(group)}</text>')
        for rate in (one for one in rates if one.group == group):
            y += _ROW
            parts.append(_draw_row(rate, y))
    height = y + _FOOT
    grid = "".join(_draw_tick(tick, y + 12) for tick in _TICKS)
    width = _LEFT + _PLOT + _RIGHT
    title = "Measured error rates and promises"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{_STYLE}</style>"
        f'<rect width="{width}" height="{height}" class="paper"/>{grid}{"".join(parts)}'
        f'<text x="8" y="{height - 8}" class="note">{escape(_LEGEND + source)}</text></svg>\n'
    )


_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.group{font-weight:600}.note{fill:#52606d;font-size:12px}"
    ".paper{fill:#fff}.grid{stroke:#e4e7eb}.bar{stroke:#2f6f9f;stroke-width:5;stroke-opacity:.45}.dot{fill:#2f6f9f}"
    ".plain .bar{stroke:#7b8794}.plain .dot{fill:#7b8794}.broken .bar{stroke:#c0392b}.broken .dot{fill:#c0392b}"
    ".limit{stroke:#1f2933;stroke-width:2}"
)


def _place(rate: float) -> float:
    return round(_LEFT + _PLOT * math.sqrt(rate), 1)


def _draw_tick(tick: float, bottom: int) -> str:
    x = _place(tick)
    label = f'<text x="{x}" y="{bottom + 14}" text-anchor="middle" class="note">{write_rate(tick, 0)}</text>'
    return f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" class="grid"/>{label}'


def _draw_row(rate: Rate, y: int) -> str:
    interval = wilson_interval(rate.hits, rate.trials)
    middle = y - 5
    kind = "plain" if rate.limit is None else "held" if rate.kept else "broken"
    limit = ""
    if rate.limit is not None:
        x = _place(rate.limit)
        limit = f'<line x1="{x}" x2="{x}" y1="{middle - 8}" y2="{middle + 8}" class="limit"/>'
    label = write_rate(rate.value, 1) + (f" ({rate.promise})" if rate.promise else "")
    return (
        f'<g class="{kind}"><text x="24" y="{y}">{escape(rate.case)}</text>'
        f'<line x1="{_place(interval.low)}" x2="{_place(interval.high)}" y1="{middle}" y2="{middle}" class="bar"/>'
        f'<circle cx="{_place(rate.value)}" cy="{middle}" r="4" class="dot"/>{limit}'
        f'<text x="{_LEFT + _PLOT + 14}" y="{y}">{label}</text></g>'
    )
