"""Reserve the proxy's port from the first check until Envoy listens on it."""

from __future__ import annotations

import socket
import time

from sluice.errors import PortInUseError
from sluice.rollout.platforms.laptop.envoy_config import LOCALHOST

_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.05


def reserve_port(port: int) -> socket.socket:
    """Return a socket that reserves a port without listening on it. Close it right before another process has to listen there.

    If the port is in use, this tries again for two seconds, because an earlier supervisor may just be ending.

    Args:
        port: The port. 0 chooses a free port, which the socket's `getsockname` returns.

    Raises:
        PortInUseError: Another process uses the port.
    """
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # The option applies to the bind only, so that closing connections of an earlier process do not matter. It is switched off
        # afterwards, so that no other process can bind the port as well.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind((LOCALHOST, port))
        except OSError as error:
            reserved.close()
            if time.monotonic() > deadline:
                raise PortInUseError(
                    f"port {port} cannot be used: {error.strerror}",
                    hint="End the process that uses it, or choose another port with serving.port or --port.",
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            return reserved
