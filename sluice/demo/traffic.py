"""Production traffic for the demonstration: requests with one row each, sent at a steady rate, with each answer counted.

The load generator is an open loop: it does not wait for an answer before it sends the next request. A closed loop would send
fewer requests as soon as answers are slow, and so hide what users notice.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASE_HEADER = "x-sluice-release"
PATH = "/api/v1.0/predictions"
OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request.

    Attributes:
        time: When the request was sent, in seconds since the epoch.
        status: HTTP status; 0 if there was no answer.
        release: The release that answered; empty if the answer names none.
        milliseconds: Latency.
    """

    time: float
    status: int
    release: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Count:
    """The requests to one release, or to all releases, in a span of time."""

    requests: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Traffic:
    """A load generator. It sends requests while its context is open.

    Args:
        url: URL of the proxy.
        rows: Rows without end, as production sends them: column → value.
        rate: Requests per second.
        connections: Number of keep-alive connections. Each one has its own thread.
    """

    url: str
    rows: Iterator[Mapping[str, Any]]
    rate: float
    connections: int = 6
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _sent: int = 0
    _started: float = 0.0

    def __enter__(self) -> Self:
        """Start to send requests."""
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._send, name=f"traffic-{n}", daemon=True) for n in range(self.connections)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop sending, and wait for the answers that have not come yet."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _send(self) -> None:
        target = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=10)
        while not self._stop.is_set():
            with self._lock:
                due = self._started + self._sent / self.rate
                self._sent += 1
                row = next(self.rows)
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            self.answers.append(_ask(connection, row))
        connection.close()

    def count(self, *, since: float = 0.0, until: float = float("inf"), release: str | None = None) -> Count:
        """Count the answers to requests that were sent in [since, until), in seconds since the epoch.

        Args:
            since: Start of the span.
            until: End of the span.
            release: The release whose answers count; None for all answers.
        """
        chosen = [a for a in list(self.answers) if since <= a.time < until and release in {None, a.release}]
        times = sorted(a.milliseconds for a in chosen)
        return Count(
            requests=len(chosen),
            failed=sum(a.status != OK for a in chosen),
            p50_ms=times[len(times) // 2] if times else 0.0,
            p99_ms=times[int(len(times) * 0.99)] if times else 0.0,
        )

    def failed_by_release(self, *, since: float, until: float) -> dict[str, int]:
        """Return release → number of failed requests. Requests that no release answered have the empty name."""
        return dict(Counter(a.release for a in list(self.answers) if since <= a.time < until and a.status != OK))

    def measured_rate(self, *, since: float, until: float) -> float:
        """Return the answers per second to requests that were sent in [since, until), in seconds since the epoch."""
        return self.count(since=since, until=until).requests / max(until - since, 1e-9)


def _ask(connection: http.client.HTTPConnection, row: Mapping[str, Any]) -> Answer:
    """Send one row, and return the answer. If the connection fails, the answer has status 0."""
    body = json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}})
    sent, started = time.time(), time.monotonic()
    try:
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        status, release = response.status, response.headers.get(RELEASE_HEADER, "")
    except (OSError, http.client.HTTPException):
        connection.close()
        status, release = 0, ""
    return Answer(sent, status, release, (time.monotonic() - started) * 1000)
