"""Requests to the proxy at a steady rate, each answer kept with who gave it."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADERS = {"content-type": "application/json"}
ROW = b'{"data":{"ndarray":[[1.0]]}}'
NOBODY = "proxy"
"""Who answered, where it was no release: the proxy itself, or nobody at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request.

    Attributes:
        sent: When, in seconds since the epoch.
        done: When it was answered.
        status: 0 where no answer came.
        by: The first eight digits of the release that answered, or ``NOBODY``.
        body: What came, of a request that failed.
    """

    sent: float
    done: float
    status: int
    by: str
    body: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200


def short(digest: str) -> str:
    """As ``Answer.by`` has it."""
    return digest.removeprefix("sha256:")[:8]


class Load:
    """Requests at a rate over a few connections, until the end of the ``with``."""

    def __init__(self, url: str, rate: float, payloads: Iterable[bytes] = (ROW,), threads: int = 4) -> None:
        self.place = urlsplit(url)
        self.rate, self.payloads = rate, itertools.cycle(payloads)
        self.answers: list[Answer] = []
        self._lock, self._ending, self._ticks = threading.Lock(), threading.Event(), itertools.count()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while True:
            with self._lock:
                payload, due = next(self.payloads), self._start + next(self._ticks) / self.rate
            if self._ending.wait(max(0.0, due - time.monotonic())):
                return
            sent = time.time()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(str(self.place.hostname), self.place.port, timeout=10)
                connection.request("POST", f"{self.place.path}/api/v1.0/predictions", payload, HEADERS)
                answer = connection.getresponse()
                body = answer.read()
                self.answers.append(Answer(sent, time.time(), answer.status, *_attribute(answer, body)))
            except (OSError, http.client.HTTPException) as error:
                connection = None
                self.answers.append(Answer(sent, time.time(), 0, NOBODY, repr(error)))

    def failed(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Requests that failed, by who answered."""
        return Counter(one.by for one in list(self.answers) if one.failed and since <= one.sent < until)

    def of(self, release: str, since: float = 0.0) -> int:
        """Requests that a release answered, of those sent since."""
        return sum(1 for one in list(self.answers) if one.by == short(release) and one.sent >= since)

    def last_of(self, release: str) -> float:
        """When a release last answered."""
        return max((one.done for one in list(self.answers) if one.by == short(release)), default=0.0)

    def lost(self, canary: str = "", since: float = 0.0, until: float = float("inf")) -> list[Answer]:
        """Requests that failed and that the canary is not to blame for."""
        return [one for one in list(self.answers) if one.failed and one.by != short(canary) and since <= one.sent < until]


def _attribute(answer: http.client.HTTPResponse, body: bytes) -> tuple[str, str]:
    told = body.decode(errors="replace")[:200] if answer.status != 200 else ""
    if predictor := answer.getheader("x-predictor"):
        return predictor.rpartition("-")[2], told
    if cluster := answer.getheader("x-upstream"):
        return cluster.partition(".")[0].rpartition("-")[2], told
    try:
        return short(json.loads(body)["meta"]["tags"]["release"]), told
    except (ValueError, LookupError, TypeError):
        return NOBODY, told
