"""The health of a release's server, as the plan sees it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CRASHES = 3
"""After so many crashes in a row, the server counts as failed."""


SILENT_SECONDS = 5.0
"""A release answers nobody if none of its servers has been ready for this long. A shorter gap is a blip, such as a restart."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one release's server.

    Attributes:
        ready: It answers requests.
        failure: Why it counts as failed (it crash-loops, or its release is not sound); empty while it does not.
        waiting: What it still waits for; empty if that is not known.
        held_for_approval: It starts only after the approval, because a release that is alone takes all traffic.
        silent_seconds: For how long none of its servers has been ready that was ready before; 0 while one is.
    """

    ready: bool = False
    failure: str = ""
    waiting: str = ""
    held_for_approval: bool = False
    silent_seconds: float = 0.0

    @property
    def answers_nobody(self) -> bool:
        """Whether none of its servers has been ready for longer than a blip."""
        return not self.ready and self.silent_seconds >= SILENT_SECONDS
