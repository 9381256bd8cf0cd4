"""A readiness probe over HTTP that never blocks: it sends one request and checks for the answer each time it is polled."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field

_MAX_BYTES = 65_536
_OK = b" 200 "


@dataclass(slots=True)
class ReadinessProbe:
    """Checks whether ``GET path`` on a port of the loopback interface is answered with status 200.

    Attributes:
        port: The port.
        path: The path.
    """

    port: int
    path: str
    _socket: socket.socket | None = field(default=None, repr=False)
    _answer: bytes = b""

    def poll(self) -> bool:
        """Return whether the answer is here and has status 200. If the request failed, the next poll sends a new one."""
        try:
            if self._socket is None:
                self._send_request()
            return self._read_answer()
        except OSError:  # no process listens on the port yet, or the server ended
            self.close()
            return False

    def close(self) -> None:
        """Close the connection and discard the request."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._answer = None, b""

    def _send_request(self) -> None:
        # On the loopback interface a connection is made or refused at once, even before a process accepts it.
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=0.2)
        self._socket.sendall(f"GET {self.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def _read_answer(self) -> bool:
        if self._socket is None or not select.select([self._socket], [], [], 0)[0]:
            return False
        received = self._socket.recv(_MAX_BYTES)
        self._answer += received
        if received and b"\r\n" not in self._answer:
            return False
        ready = _OK in self._answer.split(b"\r\n")[0]
        self.close()
        return ready
