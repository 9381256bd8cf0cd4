"""Replacing a server that still answers, so that no request is lost: start the new one, then lead the requests to it, then drain.

Both servers run for a while. The old one gets no new requests as soon as the proxy knows the port of the new one, and it ends
after the longest time that a request may take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.rollout.platforms.laptop.launching.launchers import ServerProcess

FULL_SHARE = 0.9
"""A server that takes this share of its memory is replaced, because its requests begin to fail at the limit."""

LOOK_SECONDS = 1.0
"""The pause between two looks at the memory of a server."""

PAUSE_SECONDS = 60.0
"""The shortest time between two replacements of one server, because a limit may be too low for the model."""


@dataclass(slots=True)
class Replacement:
    """The server that takes the place of another one of the same release, and the one that has left.

    Attributes:
        reason: Why the server is replaced.
        successor: The server that starts; None if none does.
        started_at: When it was started, on a clock that never goes back.
        leaving: The server that answers its last requests; None if there is none.
        leaves_at: When it ends.
        next_look: When the memory is looked at again.
    """

    reason: str = ""
    successor: ServerProcess | None = None
    started_at: float = 0.0
    leaving: ServerProcess | None = None
    leaves_at: float = 0.0
    next_look: float = 0.0


def find_fullness(taken: int, limit: int) -> str:
    """Return why a server must be replaced for its memory; empty if it need not be. Pure.

    Args:
        taken: Bytes of data of its largest process.
        limit: Its limit in bytes; 0 if there is none.

    >>> find_fullness(950_000_000, 1_000_000_000)
    'it took 950 MB of the 1,000 MB that it may take'
    """
    if not limit or taken < FULL_SHARE * limit:
        return ""
    return f"it took {taken / 1e6:,.0f} MB of the {limit / 1e6:,.0f} MB that it may take"
