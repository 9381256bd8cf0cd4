"""Send requests to the proxy at a steady rate, and record for each answer which release gave it."""

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
PROXY = "proxy"
"""Value of `Answer.by` if no release answered: the proxy itself answered, or no answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request.

    Attributes:
        sent: When the request was sent, in seconds since the epoch.
        done: When the answer had arrived, in seconds since the epoch.
        status: The HTTP status; 0 if no answer came.
        by: The first eight digits of the digest of the release that answered, or ``PROXY``.
        body: The beginning of the answer, or the error, if the request failed.
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
    """Return the first eight digits of a digest, as in ``Answer.by``."""
    return digest.removeprefix("sha256:")[:8]


class Load:
    """Send requests per second at a rate over a few connections, until the end of the ``with`` statement."""

    def __init__(self, url: str, rate: float, payloads: Iterable[bytes] = (ROW,), threads: int = 4) -> None:
        self.target = urlsplit(url)
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
                    connection = http.client.HTTPConnection(str(self.target.hostname), self.target.port, timeout=10)
                connection.request("POST", f"{self.target.path}/api/v1.0/predictions", payload, HEADERS)
                answer = connection.getresponse()
                body = answer.read()
                self.answers.append(Answer(sent, time.time(), answer.status, *_attribute(answer, body)))
            except (OSError, http.client.HTTPException) as error:
                connection = None
                self.answers.append(Answer(sent, time.time(), 0, PROXY, repr(error)))

    def failed(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Count the failed requests by who answered, among those that were sent from `since` until `until`."""
        return Counter(one.by for one in list(self.answers) if one.failed and since <= one.sent < until)

    def count_answers(self, release: str, since: float = 0.0) -> int:
        """Count the requests that were sent from `since` on and that a release answered."""
        return sum(1 for one in list(self.answers) if one.by == short(release) and one.sent >= since)

    def last_answer_of(self, release: str) -> float:
        """Return when a release answered for the last time, in seconds since the epoch; 0 if it never did."""
        return max((one.done for one in list(self.answers) if one.by == short(release)), default=0.0)

    def lost(self, canary: str = "", since: float = 0.0, until: float = float("inf")) -> list[Answer]:
        """Return the failed requests that the canary did not answer, so that it is not to blame."""
        return [one for one in list(self.answers) if one.failed and one.by != short(canary) and since <= one.sent < until]


def _attribute(answer: http.client.HTTPResponse, body: bytes) -> tuple[str, str]:
    text = body.decode(errors="replace")[:200] if answer.status != 200 else ""
    if predictor := answer.getheader("x-predictor"):
        return predictor.rpartition("-")[2], text
    if cluster := answer.getheader("x-upstream"):
        return cluster.partition(".")[0].rpartition("-")[2], text
    try:
        return short(json.loads(body)["meta"]["tags"]["release"]), text
    except (ValueError, LookupError, TypeError):
        return PROXY, text
