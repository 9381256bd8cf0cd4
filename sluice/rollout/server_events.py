"""What happened to servers and should be in the journal: a server that hung was replaced, or its Pods are not ready any more.

An event moves no traffic. It becomes a transition that stays in its state, so that the history shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.observations import ServerEvent

PAUSE_SECONDS = 600.0
"""Events of one release are written at most this often, because the journal keeps a limited number of transitions."""

MAX_WAITING = 10


@dataclass(slots=True)
class ServerEvents:
    """The events that wait until the journal can be written."""

    _waiting: list[ServerEvent] = field(default_factory=list)
    _written_at: dict[str, float] = field(default_factory=dict)

    def add(self, events: Sequence[ServerEvent], now: float) -> None:
        """Add events, except for those of a release that had one not long ago.

        Args:
            events: The events.
            now: Seconds of a clock that never goes back.
        """
        for event in events:
            if now - self._written_at.get(event.release, now - PAUSE_SECONDS) >= PAUSE_SECONDS:
                self._written_at[event.release] = now
                self._waiting = [*self._waiting, event][-MAX_WAITING:]

    def describe(self, journal: Journal) -> str:
        """Return the events that wait as one text; empty if there are none."""
        return "; ".join(f"{_name_server(journal, event.release)} {event.text}" for event in self._waiting)

    def clear(self) -> None:
        """Forget the events that wait, because they were written."""
        self._waiting = []


def _name_server(journal: Journal, release: str) -> str:
    roles = {journal.previous: "N-1's server", journal.champion: "stable's server", journal.target: "the canary's server"}
    return roles.get(release, f"the server of {release[:19]}")
