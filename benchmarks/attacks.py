"""Attacks on a server of predictions, and good clients that ask it at a steady rate meanwhile.

Each attack goes on until its context ends, over up to `CLIENTS` connections at a time. The tests show that good clients lose
nothing during each of them, and ``python -m benchmarks.serving --attacks`` measures how long their requests take.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

PATH = "/api/v1.0/predictions"
CLIENTS = 64
ATTACK_PAUSE_SECONDS = 0.1
_GOOD_CLIENTS = 4
_JSON, _FORM = "application/json", "multipart/form-data; boundary=x"


@dataclass(slots=True)
class SteadyClients:
    """Good clients, which together send a number of requests a second over connections that stay open.

    Attributes:
        url: The server.
        bodies: The requests, which are sent one after the other.
        rate: Requests a second. When the server is slower, fewer are sent.
        timeout: A request that takes longer has failed, in seconds.
        seconds: The duration of each request so far.
        failed: What happened instead of an answer with status 200.
    """

    url: str
    bodies: Sequence[str]
    rate: float = 100.0
    timeout: float = 60.0
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin to send."""
        self._threads = [threading.Thread(target=self._send, args=(number,), daemon=True) for number in range(_GOOD_CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until so many further requests have ended, in whatever way."""
        aim = len(self.seconds) + len(self.failed) + number
        while len(self.seconds) + len(self.failed) < aim:
            time.sleep(0.01)

    def _send(self, place: int) -> None:
        pause = _GOOD_CLIENTS / self.rate
        due = time.monotonic() + pause * place / _GOOD_CLIENTS
        with httpx.Client(base_url=self.url, trust_env=False, timeout=self.timeout) as client:
            for body in itertools.cycle(self.bodies):
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                begun = time.monotonic()
                due = max(due + pause, begun)
                try:
                    answer = client.post(PATH, content=body, headers={"content-type": _JSON})
                except httpx.HTTPError as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.seconds.append(time.monotonic() - begun)
                else:
                    self.failed.append(f"{answer.status_code}: {answer.text[:200]}")


def write_request(body: bytes, content_type: str = _JSON, *, length: int | None = None) -> bytes:
    """Return the bytes of a prediction request. Its Content-Length may be a lie."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


@contextmanager
def hold_open(port: int, data: bytes, clients: int = CLIENTS) -> Iterator[None]:
    """Keep connections open that have sent the beginning of a request and nothing more."""
    with ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(data)
        yield


@contextmanager
def repeat(port: int, data: bytes, clients: int) -> Iterator[None]:
    """Send a whole request again and again over several connections, and wait a second at most for each answer.

    Between two requests is a pause, so that a server that refuses quickly is not attacked much more often than a slow one.
    """
    stopping = threading.Event()

    def send() -> None:
        while not stopping.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0) as client:
                client.sendall(data)
                client.recv(1024)
            stopping.wait(ATTACK_PAUSE_SECONDS)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _names(number: int) -> bytes:
    return json.dumps({"data": {"names": [f"c{place:06d}" for place in range(number)], "ndarray": []}}).encode()


def _multipart(size: int) -> bytes:
    """Return a form that werkzeug 2.2 parses in quadratic time (CVE-2023-46136)."""
    head = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\nContent-Type: text/plain\r\n\r\n\r'
    return head + b"a" * size + b"\r\n--x--\r\n"


def _objects(size: int) -> bytes:
    return b'{"data": {"names": [], "ndarray": [' + b"{}," * (size // 3) + b"{}]}}"


HEAD = write_request(b"", length=1000)

ATTACKS: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    "half-sent headers": lambda port: hold_open(port, HEAD[:-20]),
    "half-sent bodies": lambda port: hold_open(port, HEAD + b"{"),
    "100,000 names": lambda port: repeat(port, write_request(_names(100_000)), 4),
    "3 MB of multipart": lambda port: repeat(port, write_request(_multipart(3_000_000), _FORM), 4),
    "6 MB of {}": lambda port: repeat(port, write_request(_objects(6_000_000)), 12),
    "JSON nested 100,000 deep": lambda port: repeat(port, write_request(b"[" * 100_000), 16),
    "200 MB announced": lambda port: repeat(port, write_request(b"{", length=200_000_000), 16),
    "headers of 100 kB": lambda port: repeat(port, HEAD[:-2] + b"x: " + b"y" * 100_000 + b"\r\n\r\n", 16),
}
"""Name → an attack on a port of the loopback interface."""
