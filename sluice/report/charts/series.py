"""Time series from the samples of a rollout: traffic and error rates over time. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Point, nice_ceiling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_WINDOW_SECONDS = 1.0
"""A shorter window holds too few requests for a rate."""


def keep_changes(values: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a step series without the points that repeat the value before. The first and the last point stay."""
    kept: list[tuple[float, float]] = []
    last: tuple[float, float] | None = None
    for point in values:
        if not kept or kept[-1][1] != point[1]:
            kept.append(point)
        last = point
    if last is not None and kept[-1] != last:
        kept.append(last)
    return kept


def thin_points(points: Sequence[tuple[float, float]], *, max_points: int) -> list[tuple[float, float]]:
    """Return about `max_points` points or fewer. Each bucket keeps its first, lowest, highest and last point.

    So no extreme value is lost.
    """
    if len(points) <= max_points:
        return list(points)
    size = -(-4 * len(points) // max_points)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        bucket = range(start, min(start + size, len(points)))
        low = min(bucket, key=lambda place: points[place][1])
        high = max(bucket, key=lambda place: points[place][1])
        kept += [points[place] for place in sorted({bucket[0], low, high, bucket[-1]})]
    return kept


def undo_counter_resets(values: Iterable[float]) -> list[float]:
    """Return cumulative counts that never fall. A counter that falls was reset and counts from zero again."""
    totals: list[float] = []
    offset = before = 0.0
    for value in values:
        if value < before:
            offset += before
        totals.append(offset + value)
        before = value
    return totals


def choose_rate_window(seconds: float) -> float:
    """Return the length in seconds of the trailing window for rates: about a fortieth of the span, round, and at least 1 s."""
    return max(MIN_WINDOW_SECONDS, nice_ceiling(seconds / 40)) if seconds > 0 else MIN_WINDOW_SECONDS


def error_rates(
    times: Sequence[float], requests: Sequence[float], errors: Sequence[float], *, window: float, max_points: int
) -> list[Point]:
    """Return the share of failed requests in the trailing window, at evenly spaced times.

    Args:
        times: When the counters were read, in rising order.
        requests: Cumulative requests, shape (times,).
        errors: Cumulative errors, shape (times,).
        window: Length of the trailing window in seconds.
        max_points: Largest number of points to return.

    Returns:
        Pairs of time and rate in [0, 1]. The rate is None if the window holds no request.
    """
    all_requests, all_errors = undo_counter_resets(requests), undo_counter_resets(errors)
    stride = max(1, -(-len(times) // max_points))
    rates: list[Point] = []
    for place in range((len(times) - 1) % stride, len(times), stride):  # this start includes the last time
        since = bisect_right(times, times[place] - window) - 1
        base = (all_requests[since], all_errors[since]) if since >= 0 else (all_requests[0], all_errors[0])
        requests_in_window = all_requests[place] - base[0]
        errors_in_window = all_errors[place] - base[1]
        rate = min(1.0, max(0.0, errors_in_window / requests_in_window)) if requests_in_window > 0 else None
        rates.append((times[place], rate))
    return rates


def find_isolated_points(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the points between two gaps. A line cannot show them."""
    values = [None, *(value for _, value in points), None]
    return [
        (time, value)
        for place, (time, value) in enumerate(points)
        if value is not None and values[place] is None and values[place + 2] is None
    ]


def request_rate(times: Sequence[float], requests: Sequence[Sequence[float]]) -> float | None:
    """Return the requests per second to all releases together; None for less than a second of samples.

    Args:
        times: When the counters were read, in rising order.
        requests: Cumulative requests, one sequence for each release.
    """
    seconds = times[-1] - times[0] if times else 0.0
    if seconds < MIN_WINDOW_SECONDS:
        return None
    return sum(total[-1] - total[0] for counts in requests if (total := undo_counter_resets(counts))) / seconds
