"""What the gateway and the executors agree on. Pure.

The gateway counts every request on every path. An executor counts predictions only, but also those of a Pod that asks it
directly. What both counted is evidence: the smaller of the two increments, for each kind of request by itself. So a direct
request adds nothing that the gateway did not count, and it takes nothing away.

The two are read one after the other, so one may count a request earlier than the other. What is left over at a reading can still
be matched at the next one, and for `WAIT_SECONDS` if several readings follow each other at once. Then it is dropped. Otherwise a
direct request could count for an old request of the gateway on another path. Durations have rules of their own (``durations``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.platforms.seldon.counters.durations import NO_DURATIONS, OpenDurations, match_durations
from sluice.rollout.platforms.seldon.counters.rests import Rest, count_rests, keep_rests, take_oldest
from sluice.rollout.platforms.seldon.counters.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WAIT_SECONDS = 2.0
"""How long at least a request that only one side counted waits for the other."""

_ALONE = "unreached"
"""The one kind that the gateway alone counts."""

_DURATIONS = ("timed", "slow")
_MATCHED = ("answered", "failed", "rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What the two sides counted of one release and could not match yet, oldest first, by kind.

    Attributes:
        readings: The readings so far.
        gateway: What only the gateway counted.
        executors: What only the executors counted.
        durations: The durations that the gateway has not reported.
    """

    readings: int = 0
    gateway: Mapping[str, Sequence[Rest]] = field(default_factory=dict)
    executors: Mapping[str, Sequence[Rest]] = field(default_factory=dict)
    durations: Mapping[str, OpenDurations] = field(default_factory=dict)


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
        ours = keep_rests(before.gateway.get(kind, ()), reading, now, WAIT_SECONDS)
        theirs = keep_rests(before.executors.get(kind, ()), reading, now, WAIT_SECONDS)
        direct += count_rests(before.executors.get(kind, ())) - count_rests(theirs)
        ours = [*ours, Rest(reading, now, getattr(gateway, kind))]
        theirs = [*theirs, Rest(reading, now, getattr(executors, kind))]
        agreed[kind] = min(count_rests(ours), count_rests(theirs))
        left_gateway[kind], left_executors[kind] = take_oldest(ours, agreed[kind]), take_oldest(theirs, agreed[kind])
    uncarried = [one for kind in ("answered", "failed") for one in left_executors[kind] if one.reading == reading]
    durations = {}
    for kind in _DURATIONS:
        agreed[kind], durations[kind] = match_durations(
            before.durations.get(kind, NO_DURATIONS),
            getattr(gateway, kind),
            getattr(executors, kind),
            uncarried=count_rests(uncarried),
            reading=reading,
            now=now,
        )
    left = Open(readings=reading, gateway=left_gateway, executors=left_executors, durations=durations)
    return Matched(agreed=Tally(**agreed), direct=direct, left=left)
