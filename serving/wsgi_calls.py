"""A whole HTTP request as a WSGI environment, and the application's answer to it.

Only the protocol decides the path, the scheme and the addresses. A header cannot: a name with an underscore would look like
another header, or like a variable of the server such as SCRIPT_NAME, so such headers are dropped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from email.utils import formatdate
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application answers: status, reason phrase, headers and the whole body."""

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def build_environment(
    line: Any,  # noqa: ANN401 - tornado has no types
    headers: Any,  # noqa: ANN401
    body: bytes,
    *,
    client: tuple[str, int],
    server: tuple[str, int],
) -> dict[str, Any]:
    """Return the WSGI environment of a request.

    Args:
        line: Tornado's request line.
        headers: Tornado's headers. Values of headers with the same name are joined by commas.
        body: The whole body.
        client: Address and port of the client.
        server: Address and port of the server.
    """
    path, _, query = _drop_origin(line.path).partition("?")
    environment = {
        "REQUEST_METHOD": line.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": line.path,
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": line.version,
        "REMOTE_ADDR": str(client[0]),
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in headers.items():
        if name == "Content-Type":
            environment["CONTENT_TYPE"] = value
        elif "_" not in name and name not in {"Content-Length", "Transfer-Encoding"}:
            environment["HTTP_" + name.upper().replace("-", "_")] = value
    return environment


def call_application(application: Callable[..., Any], environment: dict[str, Any]) -> Answer:
    """Call a WSGI application, and return its whole answer."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], object]:
        started[:] = [status, headers]
        return written.append

    written: list[bytes] = []
    parts = application(environment, start_response)
    try:
        written.extend(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    status, headers = started
    number, _, reason = status.partition(" ")
    return Answer(int(number), reason, [*headers, ("Date", formatdate(usegmt=True))], b"".join(written))


def _drop_origin(target: str) -> str:
    """Return the target of a request without a scheme and a host, which a client of a proxy sends with it."""
    if target.startswith("/"):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        return target
    return f"{parts.path or '/'}?{parts.query}" if parts.netloc else target
