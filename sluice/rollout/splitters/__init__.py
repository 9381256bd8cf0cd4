"""What makes wished weights so, and counts what came of them: one module for each kind of proxy, behind one protocol.

Belongs here: talking to a proxy. Does not belong here: deciding anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.evidence import Counts


@dataclass(frozen=True, slots=True)
class Reading:
    """One release's traffic so far.

    Attributes:
        counts: Answered requests and errors (5xx, 400, timeouts) since the splitter was made; they never fall while the
            release stays placed.
        p50_ms: Median latency lately, in milliseconds; for display.
        p99_ms: 99th percentile.
    """

    counts: Counts
    p50_ms: float | None = None
    p99_ms: float | None = None


class Splitter(Protocol):
    """A proxy that splits production traffic between releases."""

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Ask for these per cents by release; they sum to 100, or nobody gets any.

        Raises:
            ServiceError: The proxy did not take it.
        """

    def read_weights(self) -> dict[str, int]:
        """The per cents that the proxy says it applies; releases with 0 are left out.

        Raises:
            ServiceError: The proxy does not answer.
        """

    def read_counts(self) -> dict[str, Reading]:
        """Counters of every release that has a place.

        Raises:
            ServiceError: The proxy does not answer.
        """
