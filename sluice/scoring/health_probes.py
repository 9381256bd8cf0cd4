"""Health probes over HTTP that never block: each sends one request, and checks for the answer each time it is polled."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field

PROBE_SECONDS = 1.0
"""The pause between two liveness probes."""

ANSWER_SECONDS = 3.0
"""A liveness probe that is not answered within this time is missed."""

_MAX_BYTES = 65_536
_OK = b" 200 "


@dataclass(slots=True)
class HealthProbe:
    """Asks for ``GET path`` on a port of the loopback interface.

    Attributes:
        port: The port.
        path: The path.
    """

    port: int
    path: str
    _socket: socket.socket | None = field(default=None, repr=False)
    _answer: bytes = b""

    @property
    def is_waiting(self) -> bool:
        """Whether a request is under way."""
        return self._socket is not None

    def poll(self) -> bool | None:
        """Return whether the answer has status 200; None while it is not here. The poll after an answer sends a new request."""
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

    def _read_answer(self) -> bool | None:
        if self._socket is None or not select.select([self._socket], [], [], 0)[0]:
            return None
        received = self._socket.recv(_MAX_BYTES)
        self._answer += received
        if received and b"\r\n" not in self._answer:
            return None
        ready = _OK in self._answer.split(b"\r\n")[0]
        self.close()
        return ready


@dataclass(slots=True)
class LivenessProbe:
    """Counts the health probes in a row that a server did not answer with status 200 in time.

    Attributes:
        probe: Sends the requests.
        misses: The probes in a row that were missed.
    """

    probe: HealthProbe
    misses: int = 0
    _sent_at: float = 0.0
    _next_at: float = 0.0

    def poll(self, now: float) -> int:
        """Send a probe when one is due, and return the number of misses in a row. Never blocks.

        Args:
            now: Seconds of a clock that never goes back.
        """
        if not self.probe.is_waiting:
            if now < self._next_at:
                return self.misses
            self._sent_at = now
        answer = self.probe.poll()
        if answer is None and now - self._sent_at < ANSWER_SECONDS:
            return self.misses
        self.probe.close()
        self.misses = 0 if answer else self.misses + 1
        self._next_at = now + PROBE_SECONDS
        return self.misses
