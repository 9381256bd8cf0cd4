"""The clock that rollouts use, so that a simulation can pass in its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """A source of time.

    Attributes:
        now: Seconds since the epoch. This is the time in the journal. It may jump.
        steady: Seconds of a clock that never goes back, for measuring durations in this process.
        sleep: Waits for some seconds.
    """

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


REAL_CLOCK = Clock()
