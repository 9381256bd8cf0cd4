"""The gunicorn worker of the model server. It reads whole requests before they occupy a thread, and it limits everything.

gunicorn's own workers give a thread to a connection before its request has arrived, without a time limit. A few clients that stop
in the middle of a request therefore stop all answers. Here tornado's event loop reads the requests of all connections. Only a
whole request gets a thread, in which Flask answers it as before. So a slow client occupies a connection and nothing else, and
all limits of a request apply in one place, before Python code of the application sees a byte:

- The request line and the headers have limited bytes and time, and so have the body and the client's reading of the answer.
- Connections, requests that wait for a thread, and bytes of bodies in memory are limited in number. When there are too many
  connections or bytes, the worker gives up those that have waited longest, or that are largest, so that other clients go on.
- Large bodies are answered one at a time in a thread of their own, so that they keep no thread from short requests.
- A request whose client has gone away is not answered.

Each refusal is JSON with a stable reason (`serving.http_refusals`). Tornado parses the protocol. It accepts only what is
unambiguous, so a request cannot hide another one, and no header changes the application's path or scheme.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker
from tornado.http1connection import (  # type: ignore[import-not-found]
    HTTP1ConnectionParameters,
    HTTP1ServerConnection,
)
from tornado.httputil import (  # type: ignore[import-not-found]
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from tornado.iostream import IOStream, UnsatisfiableReadError  # type: ignore[import-not-found]
from tornado.netutil import add_accept_handler  # type: ignore[import-not-found]

from serving.http_refusals import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    BUSY,
    FAILED,
    HEADERS_TOO_LARGE,
    HEADERS_TOO_SLOW,
    MALFORMED,
    Refusal,
    find_refusal,
    send_at_once,
)
from serving.wsgi_calls import Answer, build_environment, call_application
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable

MAX_HEADER_BYTES = 32 * 1024
"""The largest request line and headers together."""

HEADER_SECONDS = 10.0
"""From the first byte of a request until its headers are here."""

REQUEST_SECONDS = 30.0
"""From the first byte of a request until all of it is here. The proxy on a laptop has the same limit."""

ANSWER_SECONDS = 30.0
"""How long a client may take to read its answer."""

LINGER_SECONDS = 2.0
"""How long a refused client may go on sending. Closed at once, it might not be able to read the refusal."""

LARGE_BYTES = 256 * 1024
"""A larger body is answered in the thread for large bodies."""

MAX_REST_SECONDS = 1.0
"""Before a large body, the interpreter is left to the short ones for as long as the last large body took, and at most so long."""

MAX_BUFFERED_BYTES = 8 * MAX_REQUEST_BYTES
"""Bytes of all large bodies in memory, arrived or arriving. So large bodies leave the short ones their memory."""

MAX_WAITING = 256
"""Whole requests with short bodies that wait for a thread."""

MAX_REQUESTS = 10_000
"""Requests of one connection. The answer to the last one says that the connection closes."""

OTHER_FILES = 256
"""Open files that the worker may need besides its connections."""

TICK_SECONDS = 0.5


class EventWorker(Worker):  # type: ignore[misc]
    """A gunicorn worker. It takes the numbers of threads and connections and the keep-alive time from gunicorn's settings."""

    alive: bool

    def run(self) -> None:
        """Serve until gunicorn ends the worker."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = self.cfg.worker_connections + OTHER_FILES
        if 0 <= soft < files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files if hard < 0 else min(files, hard), hard))
        self.connections: dict[Connection, None] = {}
        self.buffered, self.running, self._rest = 0, 0, 0.0
        self._threads = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="requests")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-requests")
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        for listener in self.sockets:
            listener.setblocking(0)
        removers = [add_accept_handler(listener, self._accept) for listener in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            self._sweep(time.monotonic())
            await asyncio.sleep(TICK_SECONDS)
        self.alive = False
        for remove, listener in zip(removers, self.sockets, strict=True):
            remove()
            listener.close()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.connections and time.monotonic() < deadline:
            self.notify()
            self._sweep(time.monotonic())
            await asyncio.sleep(0.05)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._large.shutdown(wait=False, cancel_futures=True)

    def _accept(self, accepted: socket.socket, _address: object) -> None:
        """Take a connection. If there are too many, give up the one that has waited longest for its client."""
        if len(self.connections) >= self.cfg.worker_connections:
            idle = [one for one in self.connections if one.exchange is not None and one.exchange.is_arriving]
            if not idle:
                accepted.close()
                return
            min(idle, key=lambda one: one.waits_since).give_up(BUSY)
        connection = Connection(self, accepted)
        self.connections[connection] = None
        connection.start()

    def _sweep(self, now: float) -> None:
        for connection in list(self.connections):
            connection.check(now)

    def reserve(self, size: int) -> None:
        """Count bytes of a large body. If there are too many, give up the largest body that is still arriving."""
        self.buffered += size
        while self.buffered > MAX_BUFFERED_BYTES:
            arriving = [one for one in self.connections if one.exchange is not None and one.exchange.has_partial_body]
            if not arriving:
                return
            max(arriving, key=lambda one: one.exchange.size if one.exchange else 0).give_up(BUSY)

    def submit(self, exchange: Exchange) -> None:
        """Answer a whole request in a thread, unless too many wait already."""
        is_large = exchange.size > LARGE_BYTES
        if not is_large and self.running >= self.cfg.threads + MAX_WAITING:
            exchange.connection.refuse(BUSY)
            exchange.connection.stream.close()
            return
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        self.running += not is_large
        future = (self._large if is_large else self._threads).submit(self._call, exchange)
        future.add_done_callback(lambda done: self.loop.call_soon_threadsafe(self._finish, exchange, done, is_large))

    def _call(self, exchange: Exchange) -> Answer | None:
        if exchange.size <= LARGE_BYTES:
            return self._call_now(exchange)
        time.sleep(self._rest)
        begun = time.monotonic()
        answer = self._call_now(exchange)
        self._rest = min(MAX_REST_SECONDS, time.monotonic() - begun)
        return answer

    def _call_now(self, exchange: Exchange) -> Answer | None:
        return None if exchange.is_over else call_application(self.wsgi, exchange.environment())

    def _finish(self, exchange: Exchange, done: Future[Answer | None], is_large: bool) -> None:  # noqa: FBT001 - a callback
        self.running -= not is_large
        try:
            exchange.answer(done.result())
        except (Exception, CancelledError):
            self.log.exception("an answer could not be made")
            exchange.connection.give_up(FAILED)


class _Stream(IOStream):  # type: ignore[misc]
    """A connection's bytes. It notes when a request begins, and turns what tornado says to a malformed request into JSON."""

    connection: Connection

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        found: int | None = super().read_from_fd(buf)
        if found:
            self.connection.note_bytes()
        return found

    def write(self, data: bytes | memoryview) -> Awaitable[None]:
        if data == b"HTTP/1.1 400 Bad Request\r\n\r\n":
            data = b"" if self.connection.refused_at else MALFORMED.to_bytes()
        written: Awaitable[None] = super().write(data)
        return written

    def close(self, exc_info: Any = False) -> None:  # noqa: ANN401, FBT002 - as in tornado
        if isinstance(exc_info, UnsatisfiableReadError) and not self.closed() and not self.connection.refused_at:
            is_early = self.connection.exchange is None or self.connection.exchange.line is None
            send_at_once(self.socket, HEADERS_TOO_LARGE if is_early else MALFORMED)
        super().close(exc_info)


class Connection(HTTPServerConnectionDelegate):  # type: ignore[misc]
    """One connection of a client, and the request that it sends at present.

    Attributes:
        worker: The worker.
        stream: The bytes.
        exchange: The present request; None before the first.
        began_at: When its first byte arrived; 0 while the connection is idle.
        waits_since: Since when the connection is idle, or when its request began.
        refused_at: When it was refused; 0 if it was not. The connection closes soon.
        requests: Its requests so far.
    """

    def __init__(self, worker: EventWorker, accepted: socket.socket) -> None:
        self.worker, self.stream = worker, _Stream(accepted)
        self.stream.connection = self
        self.server = accepted.getsockname()
        self.client = accepted.getpeername() if accepted.family != socket.AF_UNIX else ("", 0)
        self.exchange: Exchange | None = None
        self.began_at = self.refused_at = 0.0
        self.waits_since = time.monotonic()
        self.requests = 0

    def start(self) -> None:
        """Begin to read."""
        parameters = HTTP1ConnectionParameters(
            max_header_size=MAX_HEADER_BYTES,
            max_body_size=2**62,  # the limit is checked here, because tornado's answer says nothing
        )
        HTTP1ServerConnection(self.stream, parameters, self.client).start_serving(self)

    def start_request(self, _server_connection: object, request_connection: Any) -> Exchange:  # noqa: ANN401 - tornado has no types
        """Begin the next request."""
        if self.requests and not self.keeps_alive:
            self.stream.close()
        self.requests += 1
        self.began_at, self.waits_since = 0.0, time.monotonic()
        self.exchange = Exchange(self, request_connection)
        return self.exchange

    def on_close(self, _server_connection: object) -> None:
        """Forget the connection."""
        self.worker.connections.pop(self, None)
        if self.exchange is not None:
            self.exchange.on_connection_close()

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request."""
        return self.worker.alive and self.requests < MAX_REQUESTS and self.worker.cfg.keepalive > 0

    def note_bytes(self) -> None:
        """Note that bytes have arrived."""
        if not self.began_at:
            self.began_at = self.waits_since = time.monotonic()

    def refuse(self, refusal: Refusal) -> None:
        """Send a refusal, once. What the client goes on sending is ignored, until it ends or `LINGER_SECONDS` are over."""
        if not self.refused_at and not self.stream.closed():
            self.refused_at = time.monotonic()
            self.stream.write(refusal.to_bytes())
            if self.exchange is not None:
                self.exchange.forget_body()

    def give_up(self, refusal: Refusal) -> None:
        """Close the connection now, with a refusal if it has begun a request."""
        if self.began_at:
            self.refuse(refusal)
        if self.exchange is not None:
            self.exchange.forget_body()
        self.stream.close()

    def check(self, now: float) -> None:
        """Close the connection if a time limit is over."""
        exchange = self.exchange
        if self.refused_at:
            if now - self.refused_at > LINGER_SECONDS:
                self.stream.close()
        elif exchange is None or not self.began_at:
            if now - self.waits_since > self.worker.cfg.keepalive or not self.worker.alive:
                self.stream.close()
        elif exchange.is_arriving:
            if exchange.line is None and now - self.began_at > HEADER_SECONDS:
                self.refuse(HEADERS_TOO_SLOW)
            elif now - self.began_at > REQUEST_SECONDS:
                self.refuse(BODY_TOO_SLOW)
        elif exchange.answered_at and now - exchange.answered_at > ANSWER_SECONDS:
            self.stream.close()


class Exchange(HTTPMessageDelegate):  # type: ignore[misc]
    """One request and its answer.

    Attributes:
        connection: The connection.
        line: The request line; None while the headers have not arrived.
        size: Bytes of the body so far.
        is_arriving: Whether the request has not arrived completely.
        is_over: Whether nobody waits for the answer any more.
        answered_at: When the answer was written; 0 before.
    """

    def __init__(self, connection: Connection, request_connection: Any) -> None:  # noqa: ANN401 - tornado has no types
        self.connection, self._writer = connection, request_connection
        self.line: Any = None
        self._headers: Any = None
        self._body: list[bytes] = []
        self.size = 0
        self.is_arriving, self.is_over = True, False
        self.answered_at = 0.0

    @property
    def has_partial_body(self) -> bool:
        """Whether a part of the body is in memory, and the rest is not."""
        return self.is_arriving and self.size > 0

    @property
    def _reserved(self) -> int:
        """The bytes of the body that count as those of a large one."""
        return self.size if self.size > LARGE_BYTES else 0

    def headers_received(self, start_line: Any, headers: Any) -> None:  # noqa: ANN401 - tornado has no types
        """Refuse a request whose headers say that its body is not accepted."""
        self.line, self._headers = start_line, headers
        self.connection.note_bytes()  # of a request that arrived together with the one before it
        if (refusal := find_refusal(headers)) is not None:
            self.connection.refuse(refusal)

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, and refuse a body that turns out to be too large."""
        if self.connection.refused_at:
            return
        self._body.append(chunk)
        before, self.size = self._reserved, self.size + len(chunk)
        self.connection.worker.reserve(self._reserved - before)
        if self.size > MAX_REQUEST_BYTES:
            self.connection.refuse(BODY_TOO_LARGE)

    def finish(self) -> None:
        """Answer the request, because all of it is here."""
        self.is_arriving = False
        if self.connection.refused_at:
            self.connection.stream.close()
        else:
            self._writer.set_close_callback(self.on_connection_close)
            self.connection.worker.submit(self)

    def on_connection_close(self) -> None:
        """Forget the request, because its client has gone away."""
        self.is_arriving, self.is_over = False, True
        self.forget_body()

    def forget_body(self) -> None:
        """Free the memory of the body."""
        self.connection.worker.buffered -= self._reserved
        self._body, self.size = [], 0

    def environment(self) -> dict[str, Any]:
        """Return the WSGI environment of the request."""
        connection = self.connection
        return build_environment(
            self.line, self._headers, b"".join(self._body), client=connection.client, server=connection.server
        )

    def answer(self, answer: Answer | None) -> None:
        """Write the answer, unless the client has gone away."""
        self.forget_body()
        if self.is_over or self.connection.stream.closed():
            return
        self.is_over = True
        self.answered_at = time.monotonic()
        if answer is None:
            self.connection.stream.close()
            return
        headers = HTTPHeaders()
        for name, value in answer.headers:
            headers.add(name, value)
        if not self.connection.keeps_alive:
            headers["Connection"] = "close"
        reason = answer.reason or HTTPStatus(answer.status).phrase
        self._writer.write_headers(ResponseStartLine("HTTP/1.1", answer.status, reason), headers, answer.body)
        self._writer.finish()
