"""The time of the API server, as the header `Date` of its answers shows it.

The machines of requesters, approvers and controllers have clocks that differ, and that may be set back. Kubernetes writes its
own times, for example of a Pod or an approval, with the clock of the API server. Therefore all of Sluice's times in a cluster are
of that clock. Between two answers the time goes on with the machine's steady clock, which nobody can set.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from sluice.rollout.clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Callable


class ServerTime:
    """An estimate of the API server's time.

    Each answer bounds the difference between the two clocks: the header has whole seconds, and was written between the request
    and the answer. The bounds of all answers together are narrower. If an answer contradicts them, the API server's clock was
    set, and only that answer counts.

    Args:
        steady: The machine's steady clock, in seconds.
        now: The machine's own time, which is used until the API server has answered.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self._steady, self._now = steady, now
        self._bounds: tuple[float, float] | None = None

    def observe(self, date: str | None, *, sent: float, received: float) -> None:
        """Take in an answer.

        Args:
            date: Its header `Date` (RFC 9110); None or anything else is ignored.
            sent: When the request was sent, by the steady clock.
            received: When the answer came, by the steady clock.
        """
        try:
            stated = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        low, high = stated - received, stated + 1.0 - sent
        if self._bounds is not None:
            narrow = max(low, self._bounds[0]), min(high, self._bounds[1])
            low, high = narrow if narrow[0] <= narrow[1] else (low, high)
        self._bounds = low, high

    def now(self) -> float:
        """Return the API server's time in seconds since the epoch."""
        if self._bounds is None:
            return self._now()
        return self._steady() + sum(self._bounds) / 2

    @property
    def clock(self) -> Clock:
        """A clock that shows this time."""
        return Clock(now=self.now, steady=self._steady)
