"""The requests that a server answered last, for the one who lets another release answer them as well (a rollout's shadow).

Off unless who deploys says how many are to be kept: they are production data. They lie in memory alone, and are given at
``GET /recent`` of the server's own port, which no proxy routes to::

    {"server": "5f3e…", "requests": [{"number": 17, "data": {"names": […], "ndarray": [[…], …]}, "probabilities": [0.4, …]}, …]}

Numbers rise by one with each request that was kept; `server` names the process that counts them.

Standard library only: the serving environment does it.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

RECENT_PATH = "/recent"

RECENT_VARIABLE = "SLUICE_RECENT_REQUESTS"
"""Environment variable with the number of requests that a server keeps; unset: none."""

KEPT_REQUESTS = 64
"""So many are enough for who asks once a second."""

MOST_ROWS = 16
"""Of a request so many are kept: whoever fetches them waits for all, and so do users meanwhile."""


def plan_variables(shadow_requests: int) -> dict[str, str]:
    """What a server's environment needs for a rollout with a shadow of so many requests; nothing where there is to be none."""
    return {RECENT_VARIABLE: str(KEPT_REQUESTS)} if shadow_requests else {}


class RecentRequests:
    """The last answered requests of one process; for any number of threads."""

    def __init__(self) -> None:
        """None are kept until it has begun."""
        self.begin(0)

    def begin(self, most: int) -> None:
        """Keep so many from now on, as a server of its own: what was forked before counts apart."""
        self._kept: deque[dict[str, Any]] = deque(maxlen=most)
        self._numbers = itertools.count(1)
        self._server = uuid.uuid4().hex

    @property
    def keeps(self) -> bool:
        """Whether any are kept."""
        return bool(self._kept.maxlen)

    def add(self, names: Sequence[str], rows: Sequence[Sequence[Any]], probabilities: Sequence[float]) -> None:
        """Keep a request that was answered with these probabilities, the beginning of a long one."""
        if self.keeps:
            data = {"names": list(names), "ndarray": list(rows[:MOST_ROWS])}
            kept = {"number": next(self._numbers), "data": data, "probabilities": list(probabilities[:MOST_ROWS])}
            self._kept.append(kept)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, oldest first."""
        return {"server": self._server, "requests": list(self._kept)}
