"""Traffic for the proxy, which records each answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import httpx

from sluice.rollout.platforms.laptop.envoy_config import RELEASE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable


class Traffic:
    """Send requests over two connections, one after the other, and record time, status and release of each answer."""

    def __init__(self, url: str, payloads: Iterable[object] = ({},), pause: float = 0.01) -> None:
        self.url, self.pause = url, pause
        self.payloads = itertools.cycle(payloads)
        self._lock = threading.Lock()
        self.answers: list[tuple[float, int, str]] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with httpx.Client(trust_env=False, timeout=10.0) as client:
            while not self._stopping.wait(self.pause):
                with self._lock:
                    payload = next(self.payloads)
                try:
                    answer = client.post(f"{self.url}/api/v1.0/predictions", json=payload)
                    self.answers.append((time.time(), answer.status_code, answer.headers.get(RELEASE_HEADER, "")))
                except httpx.HTTPError:
                    self.answers.append((time.time(), 0, ""))

    def failed(self, since: float = 0.0) -> Counter[str]:
        return Counter(release for moment, status, release in list(self.answers) if status != 200 and moment >= since)

    def of(self, release: str, since: float = 0.0) -> int:
        return sum(1 for moment, _, found in list(self.answers) if found == release and moment >= since)
