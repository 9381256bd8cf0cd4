"""The counters of the gateway in the simulated cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.counters.tallies import NO_REQUESTS, Tally

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass
class SimulatedGateway:
    """What the proxies of the gateway counted.

    Attributes:
        tallies: Cumulative tallies by host.
        metrics_work: Whether they can be read.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    metrics_work: bool = True

    def count(self, host: str, *, requests: int, errors: int = 0, slow: int = 0) -> None:
        """Count requests that an executor answered."""
        self._add(host, Tally(answered=requests - errors, failed=errors, timed=requests, slow=slow))

    def count_unreached(self, host: str, requests: int) -> None:
        """Count requests that no executor answered."""
        self._add(host, Tally(unreached=requests))

    def read(self, hosts: Collection[str]) -> dict[str, Tally]:
        if not self.metrics_work:
            raise ServiceError("the gateway's metrics cannot be read")
        return {host: self.tallies.get(host, NO_REQUESTS) for host in hosts}

    def close(self) -> None:
        pass

    def _add(self, host: str, tally: Tally) -> None:
        self.tallies[host] = self.tallies.get(host, NO_REQUESTS) + tally
