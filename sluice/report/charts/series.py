"""Time series from a rollout's samples: what was served when, at which error rate. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Point, nice_ceiling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEAST_WINDOW = 1.0
"""Seconds; a shorter window holds too few requests for a rate."""


def change_points(values: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """A step series without the points that change nothing; first and last stay. Exact, however many points come in."""
    kept: list[tuple[float, float]] = []
    last: tuple[float, float] | None = None
    for point in values:
        if not kept or kept[-1][1] != point[1]:
            kept.append(point)
        last = point
    if last is not None and kept[-1] != last:
        kept.append(last)
    return kept


def thin_points(points: Sequence[tuple[float, float]], *, most: int) -> list[tuple[float, float]]:
    """At most about `most` points: of each bucket the first, lowest, highest and last, so that no extreme is lost."""
    if len(points) <= most:
        return list(points)
    size = -(-4 * len(points) // most)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        bucket = range(start, min(start + size, len(points)))
        low = min(bucket, key=lambda place: points[place][1])
        high = max(bucket, key=lambda place: points[place][1])
        kept += [points[place] for place in sorted({bucket[0], low, high, bucket[-1]})]
    return kept


def total_counts(values: Iterable[float]) -> list[float]:
    """Cumulative counters made to rise: a counter that falls was reset, and counts from zero again."""
    totals: list[float] = []
    offset = before = 0.0
    for value in values:
        if value < before:
            offset += before
        totals.append(offset + value)
        before = value
    return totals


def choose_window(seconds: float) -> float:
    """Length of the trailing window for rates over a span of so many seconds: about a fortieth, a round number, at least 1 s."""
    return max(LEAST_WINDOW, nice_ceiling(seconds / 40)) if seconds > 0 else LEAST_WINDOW


def error_rates(
    times: Sequence[float], requests: Sequence[float], errors: Sequence[float], *, window: float, most: int
) -> list[Point]:
    """Errors over requests in the trailing window, at no more than `most` evenly spaced times.

    Args:
        times: When the counters were read, rising.
        requests: Cumulative requests.
        errors: Cumulative errors, of the same length.
        window: Seconds.
        most: Points at most.

    Returns:
        (time, rate in [0, 1]); None where the window holds no request.
    """
    all_requests, all_errors = total_counts(requests), total_counts(errors)
    every = max(1, -(-len(times) // most))
    rates: list[Point] = []
    for look in range((len(times) - 1) % every, len(times), every):  # so that the last look is among them
        since = bisect_right(times, times[look] - window) - 1
        base = (all_requests[since], all_errors[since]) if since >= 0 else (all_requests[0], all_errors[0])
        asked = all_requests[look] - base[0]
        rates.append((times[look], min(1.0, max(0.0, (all_errors[look] - base[1]) / asked)) if asked > 0 else None))
    return rates


def find_lone_points(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The points between two gaps: a line has nothing to draw there."""
    values = [None, *(value for _, value in points), None]
    return [
        (time, value)
        for place, (time, value) in enumerate(points)
        if value is not None and values[place] is None and values[place + 2] is None
    ]


def request_rate(times: Sequence[float], requests: Sequence[Sequence[float]]) -> float | None:
    """Requests per second over all arms, from their cumulative counters; None for less than a second of samples."""
    seconds = times[-1] - times[0] if times else 0.0
    if seconds < LEAST_WINDOW:
        return None
    return sum(total[-1] - total[0] for arm in requests if (total := total_counts(arm))) / seconds
