"""HTTP/1.1 on a connection: uvicorn's protocol, with time limits for slow clients and a short way for small requests.

uvicorn limits neither the time in which headers must arrive nor that of a body. Here, a connection on which a request has begun
and has not come as far as it must within `SLOW_SECONDS` is closed.

The short way is for a path that gets many small requests. uvicorn makes a task and several objects for each request, which takes
longer than counting an event. On the short way, a function gets headers and body, and returns the answer. Only plain requests
take it: POST, with a Content-Length within the limit, on a connection that stays open and has no other request in flight. All
others go to the ASGI application, which gives the same answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from http import HTTPStatus

SLOW_SECONDS = 5.0
"""A client must send the headers of a request in this time, and on the short way the body too."""

_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 86\r\n\r\n"
    b'{"error":{"code":"too_slow","message":"the body did not arrive in time","hint":""}}   '
)


@dataclass(frozen=True, slots=True)
class ShortWay:
    """A path whose plain requests are answered without ASGI.

    Attributes:
        path: The path.
        most_bytes: The largest body.
        answer: (headers with lower-case names, body) → status, headers and body of the answer.
    """

    path: bytes
    most_bytes: int
    answer: Callable[[Mapping[bytes, bytes], bytes], tuple[HTTPStatus, Mapping[str, str], bytes]]


class TimedProtocol(HttpToolsProtocol):
    """HTTP with a limit for slow clients."""

    _timer: asyncio.TimerHandle | None = None
    _is_waiting = True
    """Whether the client must send something soon: on a new connection, and from the first byte of a request on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch_time()

    def data_received(self, data: bytes) -> None:
        """Read what came, and limit the time for what is still missing of a request."""
        super().data_received(data)
        self._watch_time()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request."""
        self._is_waiting = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass the request to the application, which limits the time for its body."""
        self._is_waiting = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._is_waiting = False
        self._watch_time()
        super().connection_lost(exc)

    def _watch_time(self) -> None:
        if self._is_waiting and self._timer is None:
            self._timer = self.loop.call_later(SLOW_SECONDS, self._close_slow)
        elif not self._is_waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


class ShortWayProtocol(TimedProtocol):
    """HTTP with a short way. `make_protocol` sets it."""

    way: ShortWay
    _parts: list[bytes] | None = None

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        if self.url == self.way.path and self._is_plain():
            self._parts = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer a request that took the short way."""
        if self._parts is None:
            super().on_message_complete()
            return
        body, self._parts, self._is_waiting = b"".join(self._parts), None, False
        status, headers, content = self.way.answer(dict(self.headers), body)
        self.transport.write(_write_answer(status, headers, content))
        if headers.get("connection") == "close":
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read what came, and close the connection later if nothing else comes."""
        super().data_received(data)
        is_idle = not self._is_waiting and (self.cycle is None or self.cycle.response_complete)
        if is_idle and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _is_plain(self) -> bool:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return (
            self.parser.get_method() == b"POST"
            and len(lengths) == 1
            and lengths[0].isdigit()
            and int(lengths[0]) <= self.way.most_bytes
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
            and (self.limit_concurrency is None or len(self.connections) < self.limit_concurrency)
        )

    def _close_slow(self) -> None:
        if self._parts is not None and not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
        super()._close_slow()


def make_protocol(way: ShortWay) -> type[ShortWayProtocol]:
    """Return a protocol with a short way."""
    return type("ShortWayProtocol", (ShortWayProtocol,), {"way": way})


def _write_answer(status: HTTPStatus, headers: Mapping[str, str], content: bytes) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    return b"HTTP/1.1 %d %s\r\n%scontent-length: %d\r\n\r\n%s" % (status, status.phrase.encode(), more, len(content), content)
