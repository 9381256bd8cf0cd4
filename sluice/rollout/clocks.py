"""Time as the rollout's code takes it, so that a simulation may hand in its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """Three ways to take time.

    Attributes:
        now: Seconds since the epoch; others read them, and they may jump.
        steady: Seconds of a clock that never goes back; for waiting only.
        sleep: Wait for some seconds.
    """

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


REAL_CLOCK = Clock()
