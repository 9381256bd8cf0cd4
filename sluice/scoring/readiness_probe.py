"""A question over HTTP that never blocks: asked once, looked after now and then."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field

_MOST_BYTES = 65_536
_OK = b" 200 "


@dataclass(slots=True)
class Probe:
    """Whether ``GET path`` on a port of the loopback interface is answered with 200.

    Attributes:
        port: The port.
        path: The path.
    """

    port: int
    path: str
    _socket: socket.socket | None = field(default=None, repr=False)
    _answer: bytes = b""

    def poll(self) -> bool:
        """Look once. False: not yet; the question stays, or is asked anew at the next look where it failed."""
        try:
            if self._socket is None:
                self._ask()
            return self._read()
        except OSError:  # nobody listens yet, or the server went away
            self.close()
            return False

    def close(self) -> None:
        """Forget the question."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._answer = None, b""

    def _ask(self) -> None:
        # On the loopback interface a connection is made or refused at once, also before anybody accepts it.
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=0.2)
        self._socket.sendall(f"GET {self.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def _read(self) -> bool:
        if self._socket is None or not select.select([self._socket], [], [], 0)[0]:
            return False
        received = self._socket.recv(_MOST_BYTES)
        self._answer += received
        if received and b"\r\n" not in self._answer:
            return False
        ready = _OK in self._answer.split(b"\r\n")[0]
        self.close()
        return ready
