"""The decisions of a rollout on its time axis: which to mark, what to write, and where, so that no label covers another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, nice_ticks
from sluice.report.formats import format_duration, format_words

if TYPE_CHECKING:
    from sluice.report.results import Rollout, Transition

_WIDE, _NARROW = 820.0, 270.0
"""Pixels that the plot has at least on a wide screen and on a phone."""

_LETTER, _PADDING = 6.7, 18.0
"""Pixels of a letter of a label, and around it."""

_TURN = 66.0
"""From here on, in per cent, a label is written to the left of its line."""

_BEFORE, _AFTER, _LEAST = 0.08, 0.15, 2.0
_MINUTES = 180

_ENDS = {
    "promoted": ("promoted", "ok"),
    "rolled_back": ("rolled back", "bad"),
    "aborted": ("aborted", "warn"),
    "rejected": ("rejected", "warn"),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The span of time that is drawn, and the moment that its axis calls zero (seconds since the epoch)."""

    start: float
    end: float
    zero: float


@dataclass(frozen=True, slots=True)
class Mark:
    """One decision.

    Attributes:
        left: Place on the time axis, per cent.
        label: What was decided, in a few letters.
        tone: ``ok``, ``bad``, ``warn`` or ``quiet``.
        turned: Whether the label is written to the left of the line.
        lane: Row of the label on a wide screen.
        lane_narrow: Row of the label on a phone.
        after: Time since the start, for a person.
        reason: Why.
    """

    left: float
    label: str
    tone: str
    turned: bool
    lane: int
    lane_narrow: int
    after: str
    reason: str


def choose_window_of(rollout: Rollout) -> Window | None:
    """From shortly before traffic moved until shortly after the last decision; the wait for an approval is left out.

    Returns:
        None where fewer than two samples have weights.
    """
    times = [sample.time for sample in rollout.samples if sample.time is not None and sample.weights]
    if len(times) < 2 or times[0] >= times[-1]:  # noqa: PLR2004 - two points make a line
        return None
    first = _first_change(rollout)
    begin = first if first is not None else times[0]
    decided = [moment for transition in rollout.transitions if (moment := transition.moment) is not None and moment >= begin]
    finish = max(decided, default=times[-1])
    core = max(finish - begin, 0.0)
    start = max(times[0], begin - max(_LEAST, _BEFORE * core))
    end = min(times[-1], finish + max(_LEAST, _AFTER * core))
    return Window(start, end, begin) if start < end else Window(times[0], times[-1], times[0])


def _first_change(rollout: Rollout) -> float | None:
    """When traffic first moved: at the last decision before the first sample that saw it move, or at that sample."""
    seen = _first_change_seen(rollout)
    moments = [moment for transition in rollout.transitions if (moment := transition.moment) is not None and transition.weights]
    return seen if seen is None else max((moment for moment in moments if seen - _LEAST <= moment <= seen), default=seen)


def _first_change_seen(rollout: Rollout) -> float | None:
    """The first sample whose traffic is split otherwise; a canary that gets a place and no traffic changes nothing."""
    before: dict[str, float] | None = None
    for sample in rollout.samples:
        split = {release: share for release, share in sample.weights.items() if share}
        if not split:
            continue
        if before is not None and split != before:
            return sample.time
        before = split
    return None


def place_marks(rollout: Rollout, window: Window, *, canary: str) -> tuple[Mark, ...]:
    """A mark for each transition that moved traffic or ended the rollout."""
    scale = Scale(window.start, window.end, 0.0, 100.0)
    chosen: list[tuple[float, str, str, Transition]] = []
    share: float | None = None
    for transition in rollout.transitions:
        moment = transition.moment
        said = _say(transition, share, canary)
        share = transition.weights.get(canary, share)
        if said and moment is not None and window.start <= moment <= window.end:
            chosen.append((moment, *said, transition))
    wide, narrow = _Lanes(_WIDE), _Lanes(_NARROW)
    marks = []
    for moment, label, tone, transition in chosen:
        left = scale.place(moment)
        marks.append(
            Mark(
                left=left,
                label=label,
                tone=tone,
                turned=left > _TURN,
                lane=wide.take(left, label),
                lane_narrow=narrow.take(left, label),
                after=format_duration(max(0.0, moment - window.zero)),
                reason=transition.reason,
            )
        )
    return tuple(marks)


def _say(transition: Transition, share: float | None, canary: str) -> tuple[str, str] | None:
    """Label and tone of a transition; None for one that neither moved traffic nor ended anything."""
    if transition.to in _ENDS:
        return _ENDS[transition.to]
    now = transition.weights.get(canary)
    if now is not None and now != share and (share is not None or now > 0):
        return f"{now:g} %", "bad" if share is not None and now < share else "step"
    return (format_words(transition.to), "warn") if transition.to.startswith("held") else None


class _Lanes:
    """Rows of labels over a plot of some width in pixels: each label takes the first row where it has room."""

    def __init__(self, width: float) -> None:
        self._width = width
        self._taken: list[list[tuple[float, float]]] = []

    def take(self, left: float, label: str) -> int:
        at = left / 100 * self._width
        size = _LETTER * len(label) + _PADDING
        start, end = (at - size, at) if left > _TURN else (at, at + size)
        for lane, spans in enumerate(self._taken):
            if all(end <= other_start or start >= other_end for other_start, other_end in spans):
                spans.append((start, end))
                return lane
        self._taken.append([(start, end)])
        return len(self._taken) - 1


def time_ticks(window: Window) -> tuple[Tick, ...]:
    """Ticks of the time axis in per cent, counted from the first move of traffic; every second is minor, for narrow screens."""
    scale = Scale(window.start, window.end, 0.0, 100.0)
    values = nice_ticks(window.start - window.zero, window.end - window.zero, most=8)
    return tuple(
        Tick(scale.place(window.zero + value), _format_time(value, window.end - window.start), minor=place % 2 == 1)
        for place, value in enumerate(values)
        if 0 <= scale.place(window.zero + value) <= 100  # noqa: PLR2004 - per cent
    )


def _format_time(seconds: float, span: float) -> str:
    if span < _MINUTES:
        return f"{seconds:g} s".replace("-", "\N{MINUS SIGN}")
    sign = "\N{MINUS SIGN}" if seconds < 0 else ""
    whole = round(abs(seconds))
    return f"{sign}{whole // 60}:{whole % 60:02d}"
