"""The decisions of a rollout as marks on its time axis. No label covers another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, nice_ticks
from sluice.report.formatting import format_duration, format_words

if TYPE_CHECKING:
    from sluice.report.results import Rollout, Transition

_WIDE_PIXELS, _NARROW_PIXELS = 820.0, 270.0
"""Smallest width of the plot on a wide screen and on a phone."""

_LETTER_PIXELS, _PADDING_PIXELS = 6.7, 18.0
"""Width of one letter of a label, and of the space around the label."""

_LABELS_ON_LEFT_FROM = 66.0
"""Position in per cent from which a label stands to the left of its line, because it has no room on the right."""

_MARGIN_BEFORE, _MARGIN_AFTER, _MIN_MARGIN_SECONDS = 0.08, 0.15, 2.0
"""Time that is drawn before and after the rollout: as shares of its duration, and at least these seconds."""

_MINUTES_FROM = 180
"""Span in seconds from which the axis counts in minutes."""

_ENDS = {
    "promoted": ("promoted", "ok"),
    "rolled_back": ("rolled back", "bad"),
    "aborted": ("aborted", "warn"),
    "rejected": ("rejected", "warn"),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The span of time that is drawn, and the moment that the axis calls zero, all in seconds since the epoch."""

    start: float
    end: float
    zero: float


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one decision.

    Attributes:
        left: Position on the time axis, in per cent.
        label: What was decided, in a few letters.
        tone: ``ok``, ``bad``, ``warn`` or ``step``.
        label_on_left: Whether the label stands to the left of its line.
        lane: Row of the label on a wide screen.
        lane_narrow: Row of the label on a phone.
        after: Time since traffic first changed, as a person reads it.
        reason: Why.
    """

    left: float
    label: str
    tone: str
    label_on_left: bool
    lane: int
    lane_narrow: int
    after: str
    reason: str


def choose_time_window(rollout: Rollout) -> Window | None:
    """Return the span from shortly before traffic first changed until shortly after the last decision.

    The time during which the rollout waits for its approval is left out.

    Returns:
        None if fewer than two samples have weights.
    """
    times = [sample.time for sample in rollout.samples if sample.time is not None and sample.weights]
    if len(times) < 2 or times[0] >= times[-1]:  # noqa: PLR2004 - a line needs two points
        return None
    first = _first_change(rollout)
    begin = first if first is not None else times[0]
    decided = [moment for transition in rollout.transitions if (moment := transition.moment) is not None and moment >= begin]
    finish = max(decided, default=times[-1])
    core = max(finish - begin, 0.0)
    start = max(times[0], begin - max(_MIN_MARGIN_SECONDS, _MARGIN_BEFORE * core))
    end = min(times[-1], finish + max(_MIN_MARGIN_SECONDS, _MARGIN_AFTER * core))
    return Window(start, end, begin) if start < end else Window(times[0], times[-1], times[0])


def _first_change(rollout: Rollout) -> float | None:
    """Return when traffic first changed.

    This is the moment of the last decision shortly before the first sample with a new split, or else the time of that sample.
    """
    seen = _first_changed_sample(rollout)
    moments = [moment for transition in rollout.transitions if (moment := transition.moment) is not None and transition.weights]
    return (
        seen
        if seen is None
        else max((moment for moment in moments if seen - _MIN_MARGIN_SECONDS <= moment <= seen), default=seen)
    )


def _first_changed_sample(rollout: Rollout) -> float | None:
    """Return the time of the first sample with a new split. A canary that is added without traffic does not change the split."""
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
    """Return a mark for each transition in the window that moved traffic or ended the rollout."""
    scale = Scale(window.start, window.end, 0.0, 100.0)
    chosen: list[tuple[float, str, str, Transition]] = []
    share: float | None = None
    for transition in rollout.transitions:
        moment = transition.moment
        label_and_tone = _label_transition(transition, share, canary)
        share = transition.weights.get(canary, share)
        if label_and_tone and moment is not None and window.start <= moment <= window.end:
            chosen.append((moment, *label_and_tone, transition))
    wide, narrow = _Lanes(_WIDE_PIXELS), _Lanes(_NARROW_PIXELS)
    marks = []
    for moment, label, tone, transition in chosen:
        left = scale.place(moment)
        marks.append(
            Mark(
                left=left,
                label=label,
                tone=tone,
                label_on_left=left > _LABELS_ON_LEFT_FROM,
                lane=wide.assign(left, label),
                lane_narrow=narrow.assign(left, label),
                after=format_duration(max(0.0, moment - window.zero)),
                reason=transition.reason,
            )
        )
    return tuple(marks)


def _label_transition(transition: Transition, share: float | None, canary: str) -> tuple[str, str] | None:
    """Return label and tone of a transition; None if it neither moved traffic nor ended the rollout."""
    if transition.to in _ENDS:
        return _ENDS[transition.to]
    now = transition.weights.get(canary)
    if now is not None and now != share and (share is not None or now > 0):
        return f"{now:g} %", "bad" if share is not None and now < share else "step"
    return (format_words(transition.to), "warn") if transition.to.startswith("held") else None


class _Lanes:
    """Rows of labels over a plot of a given width in pixels. Each label gets the first row that has room for it."""

    def __init__(self, width: float) -> None:
        self._width = width
        self._taken: list[list[tuple[float, float]]] = []

    def assign(self, left: float, label: str) -> int:
        """Return the row of a label whose line is at `left` per cent."""
        at = left / 100 * self._width
        size = _LETTER_PIXELS * len(label) + _PADDING_PIXELS
        start, end = (at - size, at) if left > _LABELS_ON_LEFT_FROM else (at, at + size)
        for lane, spans in enumerate(self._taken):
            if all(end <= other_start or start >= other_end for other_start, other_end in spans):
                spans.append((start, end))
                return lane
        self._taken.append([(start, end)])
        return len(self._taken) - 1


def time_ticks(window: Window) -> tuple[Tick, ...]:
    """Return the ticks of the time axis. They count from the first change of traffic.

    Positions are per cent. Every second tick is minor: a narrow screen hides it.
    """
    scale = Scale(window.start, window.end, 0.0, 100.0)
    values = nice_ticks(window.start - window.zero, window.end - window.zero, max_intervals=8)
    return tuple(
        Tick(scale.place(window.zero + value), _format_time(value, window.end - window.start), minor=place % 2 == 1)
        for place, value in enumerate(values)
        if 0 <= scale.place(window.zero + value) <= 100  # noqa: PLR2004 - per cent
    )


def _format_time(seconds: float, span: float) -> str:
    if span < _MINUTES_FROM:
        return f"{seconds:g} s".replace("-", "\N{MINUS SIGN}")
    sign = "\N{MINUS SIGN}" if seconds < 0 else ""
    whole = round(abs(seconds))
    return f"{sign}{whole // 60}:{whole % 60:02d}"
