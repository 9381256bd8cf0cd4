"""Reserve the proxy's port from the first check until Envoy listens on it."""

from __future__ import annotations

import random
import socket
import time

from sluice.errors import PortInUseError
from sluice.rollout.platforms.laptop.envoy_config import LOCALHOST

# The operating system gives outgoing connections their ports from 32768 up (Linux) or from 49152 up (macOS, Windows). A port
# below them stays free between the close of the reservation and the start of the process that listens there.
CHOSEN_PORTS = range(20_000, 32_768)
_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.05


def reserve_port(port: int) -> socket.socket:
    """Return a socket that reserves a port without listening on it. Close it right before another process has to listen there.

    If the port is in use, this tries again for two seconds, because an earlier supervisor may just be ending.

    Args:
        port: The port. 0 chooses a free port out of `CHOSEN_PORTS`, which the socket's `getsockname` returns.

    Raises:
        PortInUseError: Another process uses the port.
    """
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        wanted = port or random.choice(CHOSEN_PORTS)  # noqa: S311 - nothing secret
        try:
            return _bind(wanted, reuse=bool(port))
        except OSError as error:
            if time.monotonic() > deadline:
                raise PortInUseError(
                    f"port {wanted} cannot be used: {error.strerror}",
                    hint="End the process that uses it, or choose another port with serving.port or --port.",
                ) from error
        if port:
            time.sleep(_POLL_SECONDS)


def _bind(port: int, *, reuse: bool) -> socket.socket:
    """Return a socket that reserves a port. With `reuse`, closing connections of an earlier process do not matter."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # The option is switched off after the bind, so that no other process can bind the port as well.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        reserved.bind((LOCALHOST, port))
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        reserved.close()
        raise
    return reserved
