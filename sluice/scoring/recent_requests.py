"""The most recent requests that a server answered. A rollout's shadow fetches them and sends them to the canary.

A server keeps requests only if the deployment says how many, because they are production data. They are in memory only. The
server returns them at ``GET /recent`` on its own port, to which no proxy routes::

    {"server": "5f3e…", "requests": [{"number": 17, "data": {"names": […], "ndarray": [[…], …]}, "probabilities": [0.4, …]}, …]}

The numbers rise by one with each request that is kept. `server` identifies the process that counts them.

A server that is started with the digest of a token returns these requests, and its faults (`sluice.scoring.faults`), only to who
sends the token. The deployment makes a token for each server and knows it; the server itself does not.

This module needs only the standard library, because the serving environment uses it.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

RECENT_PATH = "/recent"

RECENT_VARIABLE = "SLUICE_RECENT_REQUESTS"
"""Environment variable with the number of requests that a server keeps. If it is not set, the server keeps none."""

READER_VARIABLE = "SLUICE_READER_DIGEST"
"""Environment variable with the SHA-256, in hex, of the token that a reader must send. If it is not set, anybody may read."""

READER = "reader"
"""The user name that is sent with the token (HTTP basic authentication)."""

KEPT_REQUESTS = 64
"""The number of requests to keep for a shadow, which fetches them about once a second."""

MAX_KEPT_ROWS = 16
"""The number of rows to keep of a long request.

All requests are fetched in one answer, and the server's users wait while it is written.
"""


def plan_recent_requests_variables(shadow_requests: int) -> dict[str, str]:
    """Return the environment variables of a server for a rollout with this number of shadow requests; none if it is 0."""
    return {RECENT_VARIABLE: str(KEPT_REQUESTS)} if shadow_requests else {}


def digest_token(token: str) -> str:
    """Return what a server needs to know of a reader's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def may_read(token: str | None, digest: str) -> bool:
    """Return whether a token gives access to a server with this digest. An empty digest gives it to anybody."""
    return not digest or hmac.compare_digest(digest_token(token or ""), digest)


def add_token(url: str, token: str) -> str:
    """Return the URL with a reader's token, as HTTP clients send it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{READER}:{token}@{rest}"


def hide_token(text: str) -> str:
    """Return a text without the tokens of the URLs in it."""
    return re.sub(rf"//{READER}:[^@/\s]*@", "//", text)


class RecentRequests:
    """The most recent answered requests of one process. Any number of threads may use it."""

    def __init__(self) -> None:
        """Keep no requests until `start` is called."""
        self.start(0)

    def start(self, limit: int) -> None:
        """Keep up to `limit` requests from now on, under a new server id. A forked process must call this to get its own id."""
        self._kept: deque[dict[str, Any]] = deque(maxlen=limit)
        self._numbers = itertools.count(1)
        self._server = uuid.uuid4().hex

    @property
    def is_enabled(self) -> bool:
        """Whether requests are kept."""
        return bool(self._kept.maxlen)

    def add(self, names: Sequence[str], rows: Sequence[Sequence[Any]], probabilities: Sequence[float]) -> None:
        """Keep a request and its answer. Of a long request, only the first rows are kept."""
        if self.is_enabled:
            data = {"names": list(names), "ndarray": list(rows[:MAX_KEPT_ROWS])}
            kept = {"number": next(self._numbers), "data": data, "probabilities": list(probabilities[:MAX_KEPT_ROWS])}
            self._kept.append(kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the requests as plain JSON types, oldest first."""
        return {"server": self._server, "requests": list(self._kept)}
