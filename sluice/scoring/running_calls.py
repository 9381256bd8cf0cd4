"""How long the calls of the model that are under way have taken, so that a health check notices a model that hangs.

A server whose model hangs answers its health checks from other threads, until no thread is left. This module needs only the
standard library, because the serving environment uses it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STUCK_SECONDS = 30.0
"""A call that takes longer hangs. Its client has not waited for it: proxies give up after ``rollout.request_timeout_seconds``."""


class RunningCalls:
    """The calls that are under way in one process. Any number of threads may use it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._started: dict[int, float] = {}

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Track a call for as long as this context lasts."""
        number = next(self._numbers)
        self._started[number] = time.monotonic()
        try:
            yield
        finally:
            del self._started[number]

    def find_longest(self) -> float:
        """Return the seconds that the longest call has taken so far; 0 if none is under way."""
        oldest = min(list(self._started.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest
