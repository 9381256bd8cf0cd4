"""The rollout over time: traffic split, error rates, evidence and latency, with marks at the decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.charts.decision_marks import Mark, Window, choose_time_window, place_marks, time_ticks
from sluice.report.charts.evidence_panel import draw_evidence
from sluice.report.charts.panels import HEIGHT, MAX_POINTS, Arm, Line, Panel, Tag, place_dot, sample_time
from sluice.report.charts.scales import Scale, Tick, area_path, line_path, nice_ceiling, nice_ticks, step_path
from sluice.report.charts.series import choose_rate_window, error_rates, find_isolated_points, keep_changes, thin_points
from sluice.report.formatting import format_duration, format_number, format_percent, format_words, shorten_digest
from sluice.report.safe_values import read_number

if TYPE_CHECKING:
    from sluice.report.results import Counts, Rollout, Sample

_MIN_TOP_RATE = 0.05
"""The axis of the error rate reaches at least to this rate."""

_TAG_HEIGHT, _TAG_WIDTH = 20.0, 22.0
"""Per cent of the plot's height and width that a name needs."""


@dataclass(frozen=True, slots=True)
class RolloutChart:
    """Several panels above each other with a common time axis, and marks at the decisions.

    Attributes:
        arms: The releases in the chart.
        panels: The panels, from top to bottom.
        marks: The decisions.
        lanes: Number of rows of labels on a wide screen.
        lanes_narrow: Number of rows of labels on a phone.
        ticks: Ticks of the time axis, in per cent.
    """

    arms: tuple[Arm, ...]
    panels: tuple[Panel, ...]
    marks: tuple[Mark, ...]
    lanes: int
    lanes_narrow: int
    ticks: tuple[Tick, ...]


def draw_rollout(rollout: Rollout, names: Mapping[str, str]) -> RolloutChart | None:
    """Return the chart of a rollout.

    Args:
        rollout: The rollout's records.
        names: Release digest → name.

    Returns:
        None if no traffic moved: fewer than two samples have weights, or one release had all traffic.
    """
    window = choose_time_window(rollout)
    arms = name_arms(rollout, names)
    if window is None or len(arms) < 2:  # noqa: PLR2004 - a split needs two releases
        return None
    samples = [sample for sample in rollout.samples if sample.time is not None and window.start <= sample.time <= window.end]
    x = Scale(window.start, window.end, 0.0, 1000.0)
    marks = place_marks(rollout, window, canary=next((arm.digest for arm in arms if arm.role == "canary"), ""))
    panels = (
        _draw_traffic(list_weights_over_time(rollout, window), arms, x, marks),
        _draw_errors(rollout, samples, arms, x),
        draw_evidence(rollout, samples, x) if any(arm.part == "canary" for arm in arms) else None,
        _draw_latency(samples, arms, x),
    )
    return RolloutChart(
        arms=arms,
        panels=tuple(panel for panel in panels if panel is not None),
        marks=marks,
        lanes=1 + max((mark.lane for mark in marks), default=-1),
        lanes_narrow=1 + max((mark.lane_narrow for mark in marks), default=-1),
        ticks=time_ticks(window),
    )


def name_arms(rollout: Rollout, names: Mapping[str, str]) -> tuple[Arm, ...]:
    """Return every release that had traffic. The release that the rollout is about comes first.

    Normally this is the canary, which gets traffic from stable. When a person rolls a champion back there is no canary: the
    rollout is about the champion, and the release before it is restored.
    """
    weights = [sample.weights for sample in rollout.samples if sample.weights]
    served = {digest: None for share in weights for digest in share if _share(share, digest) > 0}
    if not served:
        return ()
    about = rollout.target or next((transition.release for transition in reversed(rollout.transitions) if transition.release), "")
    first = max(served, key=lambda digest: (_share(weights[0], digest), digest))
    others = [digest for digest in served if digest != first]
    by_hand = about == first and bool(others)
    canary = first if by_hand else about if about in others else others[0] if others else ""
    stable = others[0] if by_hand else first
    roles = {stable: ("stable", "restored" if by_hand else "stable"), canary: ("canary", "rolled back" if by_hand else "canary")}
    order = dict.fromkeys(digest for digest in (canary, stable, *others) if digest)
    return tuple(Arm(digest, names.get(digest) or shorten_digest(digest), *roles.get(digest, ("other", ""))) for digest in order)


def _share(weights: Mapping[str, float | None], digest: str) -> float:
    return weights.get(digest) or 0.0


Weights = Mapping[str, float | None]


def list_weights_over_time(rollout: Rollout, window: Window) -> list[tuple[float, Weights]]:
    """Return the traffic split over time, from the samples and from the moments at which decisions were applied."""
    seen: list[tuple[float, Weights]] = [(sample.time, sample.weights) for sample in rollout.samples if sample.time is not None]
    moved = [(moment, transition.weights) for transition in rollout.transitions if (moment := transition.moment) is not None]
    known = sorted([*seen, *moved], key=lambda point: point[0])
    return [(time, weights) for time, weights in known if any(weights.values()) and window.start <= time <= window.end]


def _draw_traffic(shown: Sequence[tuple[float, Weights]], arms: Sequence[Arm], x: Scale, marks: Sequence[Mark]) -> Panel:
    """Stack the shares with the canary at the bottom, so that its share can be read from the axis."""
    below = [(time, 0.0) for time, _ in shown]
    areas, lines, tags = [], [], []
    for arm in arms:
        above = [(at, level + _share(weights, arm.digest)) for (at, level), (_, weights) in zip(below, shown, strict=True)]
        areas.append(Line(arm.role, area_path(keep_changes(above), keep_changes(below), x, HEIGHT), arm.name))
        if arm.role == "canary":
            lines.append(Line(arm.role, step_path(keep_changes(above), x, HEIGHT), arm.name))
        tags += _place_tag(arm, below, above, x)
        below = above
    canary = next((arm.name for arm in arms if arm.role == "canary"), "")
    decisions = ", ".join(f"{mark.label} after {mark.after}" for mark in marks)
    return Panel(
        key="traffic",
        title="Traffic split",
        note="share of requests sent to each release",
        areas=tuple(areas),
        lines=tuple(lines),
        ticks=tuple(Tick(100.0 - value, f"{value} %", minor=value in {25, 75}) for value in (0, 25, 50, 75, 100)),
        threshold=None,
        tags=tuple(tags),
        description=f"Traffic split over {format_duration(x.high - x.low)}; {canary}: {decisions}.",
    )


def _place_tag(arm: Arm, below: Sequence[tuple[float, float]], above: Sequence[tuple[float, float]], x: Scale) -> list[Tag]:
    """Place the release's name in the middle of the longest stretch where its area is high enough for a line of text."""
    stretches: list[list[int]] = [[]]
    for place, ((_, low), (_, high)) in enumerate(zip(below, above, strict=True)):
        same = not stretches[-1] or (below[place - 1][1], above[place - 1][1]) == (low, high)
        if high - low >= _TAG_HEIGHT and same:
            stretches[-1].append(place)
        else:
            stretches.append([place] if high - low >= _TAG_HEIGHT else [])
    longest = max(stretches, key=lambda places: above[places[-1]][0] - above[places[0]][0] if places else -1.0)
    if not longest:
        return []
    left, right = (x.place(above[place][0]) / 10 for place in (longest[0], longest[-1]))
    middle = HEIGHT.place((below[longest[0]][1] + above[longest[0]][1]) / 2)
    return [Tag((left + right) / 2, middle, arm.name, arm.role)] if right - left >= _TAG_WIDTH else []


def _draw_errors(rollout: Rollout, samples: Sequence[Sample], arms: Sequence[Arm], x: Scale) -> Panel | None:
    trailing = choose_rate_window(x.high - x.low)
    rates = {arm: _rates_of(samples, arm, trailing) for arm in arms}
    decided = _rates_at_decisions(rollout, arms, x)
    known = [rate for points in rates.values() for _, rate in points if rate is not None] + [rate for _, rate, _ in decided]
    if not known:
        return None
    top = min(1.0, nice_ceiling(max(max(known) * 1.05, _MIN_TOP_RATE)))
    y = Scale(0.0, top, 100.0, 2.0)
    peaks = {arm: max((rate for _, rate in points if rate is not None), default=None) for arm, points in rates.items()}
    peak_texts = [f"{arm.name} {format_percent(peak)}" for arm, peak in peaks.items()]
    isolated = [
        place_dot(arm.role, time, rate, x, y, f"{arm.name}: {format_percent(rate)}")
        for arm, points in rates.items()
        for time, rate in find_isolated_points(points)
    ]
    at_decisions = [place_dot("canary", time, rate, x, y, title) for time, rate, title in decided]
    return Panel(
        key="errors",
        title="Error rate",
        note=f"share of failed requests in the last {format_duration(trailing)}; a dot shows the canary's rate at a decision",
        areas=(),
        lines=tuple(Line(arm.role, line_path(points, x, y), arm.name) for arm, points in reversed(rates.items())),
        dots=tuple(isolated + at_decisions),
        ticks=_share_ticks(top, y),
        threshold=None,
        description=f"Error rate over time; highest {', '.join(peak_texts)}{''.join(f'; {title}' for _, _, title in decided)}.",
    )


def _rates_at_decisions(rollout: Rollout, arms: Sequence[Arm], x: Scale) -> list[tuple[float, float, str]]:
    """Return time, error rate and title of each decision about the canary, counted since its present step began.

    Samples are taken only twice a second, so the samples alone do not show what a decision saw.
    """
    name = next((arm.name for arm in arms if arm.part == "canary"), "")
    found = []
    for transition in rollout.transitions if name else ():
        requests, errors = (read_number(transition.evidence.get(f"step_canary_{count}")) for count in ("requests", "errors"))
        moment = transition.decided
        if moment is None or not requests or errors is None or not x.low <= moment <= x.high:
            continue
        title = f"{name}, {format_words(transition.to)}: {errors:.0f} of {requests:.0f} requests failed"
        found.append((moment, min(1.0, errors / requests), title))
    return found


def _rates_of(samples: Sequence[Sample], arm: Arm, window: float) -> list[tuple[float, float | None]]:
    seen = [(sample_time(sample), sample.arms[arm.digest]) for sample in samples if arm.digest in sample.arms]
    times = [time for time, _ in seen]
    requests, errors = ([number(counts) or 0.0 for _, counts in seen] for number in (_requests, _errors))
    served = {sample_time(sample): _is_served(sample, arm) for sample in samples}
    rates = error_rates(times, requests, errors, window=window, max_points=MAX_POINTS)
    # The window still holds requests after a release lost its traffic. Its rate is not shown from then on.
    return [(time, rate if served[time] else None) for time, rate in rates]


def _share_ticks(top: float, y: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(y.place(value), format_percent(value)) for value in nice_ticks(0.0, top, max_intervals=4))


def _draw_latency(samples: Sequence[Sample], arms: Sequence[Arm], x: Scale) -> Panel | None:
    series = {arm: _latencies_of(samples, arm, _p99) for arm in arms}
    highest = max((value for points in series.values() for _, value in points), default=0.0)
    if highest <= 0:
        return None
    top = nice_ceiling(highest * 1.05)
    y = Scale(0.0, top, 100.0, 2.0)
    return Panel(
        key="latency",
        title="Latency",
        note="99th percentile",
        areas=(),
        lines=tuple(
            Line(arm.role, line_path(thin_points(points, max_points=MAX_POINTS), x, y), arm.name)
            for arm, points in series.items()
        ),
        dots=tuple(
            place_dot(arm.role, *points[0], x, y, f"{arm.name}: {format_number(points[0][1])} ms")
            for arm, points in series.items()
            if len(points) == 1
        ),
        ticks=tuple(Tick(y.place(value), f"{value:g} ms") for value in nice_ticks(0.0, top, max_intervals=3)),
        threshold=None,
        description=f"99th percentile of latency, highest {format_number(highest)} milliseconds.",
    )


def _latencies_of(samples: Sequence[Sample], arm: Arm, number: Callable[[Counts], float | None]) -> list[tuple[float, float]]:
    values = (
        (sample_time(sample), number(sample.arms[arm.digest]))
        for sample in samples
        if arm.digest in sample.arms and _is_served(sample, arm)
    )
    return [(time, value) for time, value in values if value is not None]


def _is_served(sample: Sample, arm: Arm) -> bool:
    """Return whether the proxy sends requests to the release. Without known weights, the answer is yes."""
    return not sample.weights or _share(sample.weights, arm.digest) > 0


def _requests(counts: Counts) -> float | None:
    return counts.requests


def _errors(counts: Counts) -> float | None:
    return counts.errors


def _p99(counts: Counts) -> float | None:
    return counts.p99_ms
