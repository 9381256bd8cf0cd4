"""What the gateway and the executors agree on about durations. Pure.

Envoy writes its histograms every few seconds, so the gateway reports a duration later than the request, and the executors know it
at once. If all answers of the executors came through the gateway, their durations are those of the users. If some did not, those
may be the slow ones. So of the slow answers in a reading, as many count at once as are more than the answers that the gateway did
not carry. The others wait for the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.platforms.seldon.counters.rests import Rest, count_rests, keep_rests, take_newest

if TYPE_CHECKING:
    from collections.abc import Sequence

LATE_SECONDS = 10.0
"""How long a duration waits for the gateway's. Envoy writes its histograms every 5 s, and Istio does not change that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDurations:
    """Durations of one kind that the gateway has not reported yet, oldest first.

    Attributes:
        executors: Those that do not count before the gateway reports them.
        early: Those that were counted already, so that the gateway's report adds nothing.
    """

    executors: Sequence[Rest] = ()
    early: Sequence[Rest] = ()


NO_DURATIONS = OpenDurations()


def match_durations(
    before: OpenDurations, gateway: int, executors: int, *, uncarried: int, reading: int, now: float
) -> tuple[int, OpenDurations]:
    """Return how many durations of one kind count, and what is left for the next readings.

    Args:
        before: What the last reading left.
        gateway: What the gateway reported since the last reading.
        executors: What the executors counted since then.
        uncarried: Answers of the executors since then that the gateway did not count.
        reading: The number of this reading.
        now: Seconds, by a clock that never goes back.
    """
    early = keep_rests(before.early, reading, now, LATE_SECONDS)
    reported = gateway - min(gateway, count_rests(early))
    early = take_newest(early, gateway - reported)
    theirs = [*keep_rests(before.executors, reading, now, LATE_SECONDS), Rest(reading, now, executors)]
    agreed = min(reported, count_rests(theirs))
    theirs = take_newest(theirs, agreed)
    certain = max(0, count_rests([one for one in theirs if one.reading == reading]) - uncarried)
    left = OpenDurations(executors=take_newest(theirs, certain), early=[*early, Rest(reading, now, certain)])
    return agreed + certain, left
