"""Which events were seen before, in memory of a fixed size. A sender that got no answer sends its event again."""

from __future__ import annotations


class SeenEvents:
    """Remembers at least the last `least` events, and at most twice as many.

    The identities are hashes of 64 bits. Two different events among 400,000 have the same one with a probability of about 4e-9.
    """

    def __init__(self, least: int) -> None:
        """Remember nothing yet."""
        self.least = least
        self._new: set[int] = set()
        self._old: set[int] = set()

    def add(self, identity: int) -> bool:
        """Remember an event, and return whether it is new."""
        if identity in self._new or identity in self._old:
            return False
        self._new.add(identity)
        if len(self._new) >= self.least:
            self._old, self._new = self._new, set()
        return True
