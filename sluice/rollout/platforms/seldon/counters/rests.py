"""Requests that only one of two sides has counted so far, by the reading at which they were counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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


def count_rests(rests: Iterable[Rest]) -> int:
    """Return how many requests these are."""
    return sum(one.requests for one in rests)


def keep_rests(rests: Sequence[Rest], reading: int, now: float, seconds: float) -> list[Rest]:
    """Return what can still be matched: what the last reading left, and what is not older than so many seconds."""
    return [one for one in rests if one.reading >= reading - 1 or now - one.at < seconds]


def take_oldest(rests: Iterable[Rest], requests: int) -> list[Rest]:
    """Return what is left after so many requests were taken, the oldest first."""
    left = []
    for one in rests:
        taken = min(one.requests, requests)
        requests -= taken
        if one.requests > taken:
            left.append(Rest(one.reading, one.at, one.requests - taken))
    return left


def take_newest(rests: Sequence[Rest], requests: int) -> list[Rest]:
    """Return what is left after so many requests were taken, the newest first."""
    return take_oldest(reversed(rests), requests)[::-1]
