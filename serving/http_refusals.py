"""What the model server's worker answers to requests that never reach the application.

Each answer has the form of Seldon's errors: ``{"status": {"status": 1, "info": TEXT, "code": -1, "reason": CODE}}``. The reasons
are stable, so that clients and alerts may depend on them.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that ends a connection.

    Attributes:
        status: The HTTP status.
        reason: The stable code.
        info: What is wrong, and what to do.
    """

    status: HTTPStatus
    reason: str
    info: str

    def to_bytes(self) -> bytes:
        """Return the whole HTTP answer."""
        body = json.dumps({"status": {"status": 1, "info": self.info, "code": -1, "reason": self.reason}}).encode()
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


MALFORMED = Refusal(HTTPStatus.BAD_REQUEST, "MICROSERVICE_BAD_REQUEST", "the request is not valid HTTP/1.1")
HEADERS_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "MICROSERVICE_TIMEOUT", "the headers did not arrive in time")
BODY_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "MICROSERVICE_TIMEOUT", "the body did not arrive in time")
BODY_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "MICROSERVICE_TOO_LARGE", f"the body has more than {MAX_REQUEST_BYTES} bytes"
)
MULTIPART = Refusal(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "MICROSERVICE_UNSUPPORTED_TYPE", "multipart bodies are not accepted: send JSON"
)
HEADERS_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "MICROSERVICE_HEADERS_TOO_LARGE", "the request line and the headers are too long"
)
BUSY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "MICROSERVICE_BUSY", "the server has too many requests at the moment: send the request again"
)
FAILED = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "MICROSERVICE_INTERNAL_ERROR", "the server failed: its log says why")


def find_refusal(headers: Mapping[str, str]) -> Refusal | None:
    """Return why a request is refused before its body is read; None if it is not.

    A multipart body is refused because parsing it takes a time that grows with the square of its length (CVE-2023-46136).
    """
    length = headers.get("Content-Length", "").lstrip("0")
    if length.isdecimal() and (len(length) > len(str(MAX_REQUEST_BYTES)) or int(length) > MAX_REQUEST_BYTES):
        return BODY_TOO_LARGE
    return MULTIPART if headers.get("Content-Type", "").lower().startswith("multipart/") else None


def send_at_once(connection: socket.socket, refusal: Refusal) -> None:
    """Send a refusal, and read what has arrived. With unread bytes, the kernel would reset the connection and lose the answer."""
    try:
        connection.send(refusal.to_bytes())
        connection.shutdown(socket.SHUT_WR)
        for _ in range(16):
            if not connection.recv(65_536):
                return
    except OSError:
        return
