"""What the gateway and the executors agree on. Pure.

The gateway counts every request on every path. An executor counts predictions only, but also those of a Pod that asks it
directly. What both counted is evidence: the smaller of the two increments, for each kind of request by itself. So a direct
request adds nothing that the gateway did not count, and it takes nothing away.

The two are read one after the other, so one may count a request earlier than the other. What is left over at a reading can still
be matched at the next one, and for `WAIT_SECONDS` if several readings follow each other at once. Then it is dropped. Otherwise a
direct request could count for an old request of the gateway on another path. A duration that an executor counted can be matched
for `LATE_SECONDS`, because Envoy reports durations late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.platforms.seldon.counters.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WAIT_SECONDS = 2.0
"""How long at least a request that only one side counted waits for the other."""

LATE_SECONDS = 10.0
"""How long a duration waits for the gateway's. Envoy writes its histograms every 5 s, and Istio does not change that."""

_ALONE = "unreached"
"""The one kind that the gateway alone counts."""

_DURATIONS = ("timed", "slow")
_MATCHED = ("answered", "failed", "rejected", *_DURATIONS)


@dataclass(frozen=True, slots=True)
class Rest:
    """Requests that only one side counted at a reading.

    Attributes:
        reading: The number of the reading.
        at: When that was, in seconds, by a clock that never goes back.
        requests: How many.
    """

    reading: int
    at: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What the two sides counted of one release and could not match yet, oldest first, by kind.

    Attributes:
        readings: The readings so far.
        gateway: What only the gateway counted.
        executors: What only the executors counted.
    """

    readings: int = 0
    gateway: Mapping[str, Sequence[Rest]] = field(default_factory=dict)
    executors: Mapping[str, Sequence[Rest]] = field(default_factory=dict)


NOTHING_OPEN = Open()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One reading of one release after the comparison.

    Attributes:
        agreed: What counts.
        direct: Requests that the executors counted and the gateway did not, and that are not waited for any longer.
        left: What the next reading may still match.
    """

    agreed: Tally
    direct: int
    left: Open


def match(before: Open, gateway: Tally, executors: Tally, *, now: float) -> Matched:
    """Compare what the two sides counted since the last reading.

    Args:
        before: What the last reading left.
        gateway: What the gateway counted since the last reading.
        executors: What the executors counted since then.
        now: Seconds, by a clock that never goes back.
    """
    reading, direct = before.readings + 1, 0
    agreed, left_gateway, left_executors = {_ALONE: gateway.unreached}, {}, {}
    for kind in _MATCHED:
        seconds = LATE_SECONDS if kind in _DURATIONS else WAIT_SECONDS
        ours, _ = _keep(before.gateway.get(kind, ()), reading, now, WAIT_SECONDS)
        theirs, dropped = _keep(before.executors.get(kind, ()), reading, now, seconds)
        ours = [*ours, Rest(reading, now, getattr(gateway, kind))]
        theirs = [*theirs, Rest(reading, now, getattr(executors, kind))]
        agreed[kind] = min(_count(ours), _count(theirs))
        left_gateway[kind], left_executors[kind] = _take(ours, agreed[kind]), _take(theirs, agreed[kind])
        direct += dropped if kind not in _DURATIONS else 0
    left = Open(readings=reading, gateway=left_gateway, executors=left_executors)
    return Matched(agreed=Tally(**agreed), direct=direct, left=left)


def _keep(rests: Sequence[Rest], reading: int, now: float, seconds: float) -> tuple[list[Rest], int]:
    """Return what can still be matched, and how many requests are dropped: those before the last reading that are too old."""
    kept = [one for one in rests if one.reading >= reading - 1 or now - one.at < seconds]
    return kept, _count(rests) - _count(kept)


def _count(rests: Sequence[Rest]) -> int:
    return sum(one.requests for one in rests)


def _take(rests: Sequence[Rest], requests: int) -> list[Rest]:
    """Return what is left after so many requests were taken, the oldest first."""
    left = []
    for one in rests:
        taken = min(one.requests, requests)
        requests -= taken
        if one.requests > taken:
            left.append(Rest(one.reading, one.at, one.requests - taken))
    return left
