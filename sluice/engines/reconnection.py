"""Going on to watch a run after its server was not reachable for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sluice.errors import ServiceError

TRIES = 6
LONGEST_PAUSE_SECONDS = 30.0
"""Six tries with pauses of 1, 2, 4, 8, 16 and 30 s bridge the restart of an API server."""


class UnreachableError(ServiceError):
    """The server does not answer. Unlike a refusal, this may pass by itself."""


@dataclass(slots=True)
class Patience:
    """Counts the failures in a row."""

    failures: int = 0
    first_pause_seconds: float = 1.0

    def answered(self) -> None:
        """Forget earlier failures."""
        self.failures = 0

    def wait(self, error: UnreachableError) -> None:
        """Wait before the next try.

        Raises:
            UnreachableError: The server did not answer too often in a row.
        """
        self.failures += 1
        if self.failures > TRIES:
            raise error
        time.sleep(min(self.first_pause_seconds * 2 ** (self.failures - 1), LONGEST_PAUSE_SECONDS))
