"""How many requests an address or a client may send in a minute. The table has a fixed size."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_NAMES = 10_000
"""With more names, the one that was seen longest ago is forgotten."""


class RateLimit:
    """A token bucket for each name: at most `per_minute` requests at once, and as many each minute."""

    def __init__(self, per_minute: int, steady: Callable[[], float]) -> None:
        """Start with full buckets.

        Args:
            per_minute: The limit.
            steady: Seconds of a clock that never goes back.
        """
        self.per_minute, self._steady = per_minute, steady
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one request, and return 0; or return the seconds until one is allowed."""
        now, speed = self._steady(), self.per_minute / 60
        left, since = self._buckets.pop(name, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - since) * speed)
        wait = 0.0 if left >= 1 else (1 - left) / speed
        self._buckets[name] = (left - 1 if not wait else left, now)
        if len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        return wait
