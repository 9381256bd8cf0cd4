"""The health of a release's server, and whether its signatures were verified, as the plan sees them."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CRASHES = 3
"""After so many crashes in a row, the server counts as failed."""


SILENT_SECONDS = 5.0
"""A release answers nobody if none of its servers has been ready for this long. A shorter gap is a blip, such as a restart."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a release may take traffic, as its signatures say.

    Attributes:
        refusal: Why it may not; empty if nothing was refused.
        waiting: Why nobody knows yet; empty if it is known.
    """

    refusal: str = ""
    waiting: str = ""

    @property
    def holds(self) -> bool:
        """Whether the release may take traffic."""
        return not (self.refusal or self.waiting)


VERIFIED = Verification()
"""The release may take traffic, or no signature is required."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one release's server.

    Attributes:
        ready: It answers requests.
        failure: Why it counts as failed (it crash-loops, or its release is not sound); empty while it does not.
        waiting: What it still waits for; empty if that is not known.
        held_for_approval: It starts only after the approval, because a release that is alone takes all traffic.
        silent_seconds: For how long none of its servers has been ready that was ready before; 0 while one is.
        verification: Whether its release was verified. Only the canary's is looked at: a champion and N-1 were canaries before,
            and nothing may delay them.
        pods: How many of its servers are ready; None if the platform does not count them, because their number is fixed.
    """

    ready: bool = False
    failure: str = ""
    waiting: str = ""
    held_for_approval: bool = False
    verification: Verification = VERIFIED
    silent_seconds: float = 0.0
    pods: int | None = None

    @property
    def answers_nobody(self) -> bool:
        """Whether none of its servers has been ready for longer than a blip."""
        return not self.ready and self.silent_seconds >= SILENT_SECONDS
