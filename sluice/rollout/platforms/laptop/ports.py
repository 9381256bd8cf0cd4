"""The proxy's port, held from the first check until Envoy takes it."""

from __future__ import annotations

import socket
import time

from sluice.errors import PortInUseError
from sluice.rollout.platforms.laptop.envoy_config import LOCALHOST

_PATIENCE_SECONDS = 2.0
_POLL = 0.05


def reserve_port(port: int) -> socket.socket:
    """A socket that holds a port without listening; close it right before somebody else is to listen there.

    Waits two seconds for a predecessor that is still being ended.

    Args:
        port: 0 chooses a free one; ask the socket which.

    Raises:
        PortInUseError: Something listens there.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Only for the bind itself, so that connections that linger from before do not matter; afterwards nobody else gets in.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((LOCALHOST, port))
        except OSError as error:
            held.close()
            if time.monotonic() > deadline:
                raise PortInUseError(
                    f"port {port} cannot be used: {error.strerror}",
                    hint="End what listens there, or choose another with serving.port or --port.",
                ) from error
            time.sleep(_POLL)
        else:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            return held
