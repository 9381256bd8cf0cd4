"""Run an ASGI application as a service: with time limits for slow clients, and a clean end after SIGTERM or ctrl-C."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from sluice.errors import PortInUseError
from sluice.rollout.signals import set_on_signals
from sluice.triggers.http_protocol import ShortWay, TimedProtocol, make_protocol
from sluice.triggers.service_logs import log

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive

MOST_CONNECTIONS = 512
"""With more open connections, further requests get status 503."""

GRACE_SECONDS = 10
"""How long a request that is being answered may take after SIGTERM."""


class BodyTooLargeError(Exception):
    """The body of a request exceeds the limit."""


class BodyTooSlowError(Exception):
    """The body of a request did not arrive in time."""


class ClientLeftError(Exception):
    """The client closed the connection before it had sent the whole body."""


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, most_bytes: int, seconds: float) -> bytes:
    """Read the body of a request.

    Args:
        receive: The channel of ASGI.
        headers: The headers, with lower-case names.
        most_bytes: Largest number of bytes. A body that announces more is refused before it is read.
        seconds: Time in which the whole body must arrive.

    Raises:
        BodyTooLargeError: The body is too large.
        BodyTooSlowError: It has not arrived in time.
        ClientLeftError: The client has gone.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > most_bytes:
        raise BodyTooLargeError
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                body += message.get("body", b"")
                if len(body) > most_bytes:
                    raise BodyTooLargeError
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise BodyTooSlowError from None


def open_socket(port: int) -> socket.socket:
    """Return a socket that listens on all interfaces.

    Args:
        port: The port; 0 for any free one.

    Raises:
        PortInUseError: The port cannot be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("", port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise PortInUseError(f"port {port} cannot be used: {error}", hint="Choose another port with --port.") from error
    return listening


def build_server(app: ASGIApp, short_way: ShortWay | None = None) -> uvicorn.Server:
    """Return a server for an application that reads bodies with `read_body`, and for a path with a short way."""
    config = uvicorn.Config(
        app,
        http=make_protocol(short_way) if short_way else TimedProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listening: socket.socket, *, name: str, short_way: ShortWay | None = None) -> None:
    """Answer requests until SIGTERM or ctrl-C. Requests that are being answered then may end.

    Args:
        app: The application.
        listening: A socket that listens.
        name: Name of the service for the log.
        short_way: A path that gets many small requests.
    """
    log(f"{name} started", port=listening.getsockname()[1])
    with set_on_signals(threading.Event()):  # the server raises the signal again after it has ended, and nobody else needs it
        build_server(app, short_way).run(sockets=[listening])
    log(f"{name} ended")
