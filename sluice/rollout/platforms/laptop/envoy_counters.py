"""What Envoy counts for each slot, from the answer of its admin interface. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.platforms.laptop.envoy_config import SLOTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTERS = r"^(cluster\.slot-\d\.upstream_rq_(completed|5xx|4xx|time)|listener_manager\.listener_stopped|server\.(live|state))$"
"""Selects what `read_slots` and `is_drained` need."""

_COUNTER = re.compile(r"^cluster\.(slot-\d)\.upstream_rq_(completed|5xx|4xx|time)$")


@dataclass(frozen=True, slots=True)
class TrafficReading:
    """The traffic of one release so far.

    Attributes:
        counts: Requests and errors (5xx, time-outs) since the release got its slot, and the rejected requests (4xx) apart from
            them. They never fall while it keeps the slot.
        p50_ms: Recent median latency in milliseconds, for display; None before the first.
        p99_ms: Recent 99th percentile of the latency in milliseconds; None before the first.
    """

    counts: Counts
    p50_ms: float | None = None
    p99_ms: float | None = None


def read_slots(stats: Sequence[Mapping[str, Any]], slow_seconds: float) -> dict[str, TrafficReading]:
    """Return the counters and latencies by slot, as Envoy has counted them since it started.

    Args:
        stats: The list in the answer to ``/stats?format=json`` with the filter `COUNTERS`.
        slow_seconds: An answer that takes longer is slow.
    """
    numbers = {slot: dict.fromkeys(("completed", "5xx", "4xx"), 0) for slot in SLOTS}
    latencies: dict[str, _Latencies] = {}
    for stat in stats:
        if "histograms" in stat:
            latencies = _read_latencies(stat["histograms"], slow_seconds)
        elif (match := _COUNTER.match(stat["name"])) is not None:
            numbers[match[1]][match[2]] = int(stat["value"])
    readings = {}
    for slot, found in numbers.items():
        latency = latencies.get(slot, _Latencies())
        # The 5xx include time-outs, which Envoy answers with 504, and unreachable servers, for which it answers with 503.
        rejected = found["4xx"]
        counts = Counts(found["completed"] - rejected, found["5xx"], latency.timed, latency.slow, rejected)
        readings[slot] = TrafficReading(counts, latency.p50_ms, latency.p99_ms)
    return readings


def is_drained(stats: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether somebody has told Envoy to stop listening or to say that it is unhealthy.

    Args:
        stats: The list in the answer to ``/stats?format=json`` with the filter `COUNTERS`.
    """
    found = {stat["name"]: stat["value"] for stat in stats if "name" in stat}
    return bool(found.get("listener_manager.listener_stopped", 0)) or not found.get("server.live", 1)


@dataclass(frozen=True, slots=True)
class _Latencies:
    """What Envoy's latency histogram says about one slot. Envoy updates it once a second.

    Attributes:
        timed: Requests whose duration is known.
        slow: Requests among them that were slow.
        p50_ms: Median in milliseconds.
        p99_ms: 99th percentile in milliseconds.
    """

    timed: int = 0
    slow: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None


def _read_latencies(histograms: Mapping[str, Any], slow_seconds: float) -> dict[str, _Latencies]:
    """Return the latencies by slot.

    The numbers of requests count from Envoy's start. The two percentiles are those of the last flush interval; if it had no
    requests, they are those since Envoy's start.
    """
    quantiles = histograms["supported_percentiles"]
    indices = (quantiles.index(50), quantiles.index(99))
    latencies = {}
    for histogram in histograms.get("details", []):
        if (match := _COUNTER.match(histogram["name"])) is not None:
            values = [histogram["percentiles"][index] for index in indices]
            p50, p99 = (value["interval"] if value["interval"] is not None else value["cumulative"] for value in values)
            bins = histogram["totals"]
            slow = sum(one["count"] for one in bins if one["lower_bound"] >= slow_seconds * 1000)
            latencies[match[1]] = _Latencies(sum(one["count"] for one in bins), slow, p50, p99)
    return latencies
