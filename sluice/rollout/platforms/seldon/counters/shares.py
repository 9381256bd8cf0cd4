"""Comparing the gateway's counts with the weights of the routes. Pure.

The gateway draws the release of each request at random by the weights. If its counts differ from the weights by more than chance
explains, requests reach a release by another route, and what they show is no evidence about users.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.statistics.proportions import binomial_p_value

if TYPE_CHECKING:
    from collections.abc import Mapping

ALPHA = 1e-6
"""How improbable a difference has to be. It is that small because the shares are compared about once a second for an hour."""

SETTLE_SECONDS = 5.0
"""Requests that end in this time after a change of the weights are not compared: some were sent by the former weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareWindow:
    """The gateway's counts since the weights changed.

    Attributes:
        weights: Per cents above 0 by release; empty if nothing is compared.
        since: From when on requests count, in seconds, by a clock that never goes back.
        requests: Requests by release.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    since: float = 0.0
    requests: Mapping[str, int] = field(default_factory=dict)

    def extend(self, weights: Mapping[str, int] | None, grown: Mapping[str, int], *, now: float) -> ShareWindow:
        """Return the window with one more reading.

        Args:
            weights: The weights that the routes have; None if they differ from each other.
            grown: Requests by release since the last reading.
            now: Seconds, by a clock that never goes back.
        """
        if not weights or weights != self.weights:
            return ShareWindow(weights=dict(weights or {}), since=now + SETTLE_SECONDS)
        if now < self.since:
            return self
        requests = {release: self.requests.get(release, 0) + grown.get(release, 0) for release in weights}
        first = not self.requests  # it contains requests from before the time at which the counting begins
        return ShareWindow(weights=self.weights, since=self.since, requests=dict.fromkeys(weights, 0) if first else requests)

    def find_difference(self) -> str | None:
        """Return the release whose share differs most clearly from its weight; None if no share differs clearly."""
        total, weighed = sum(self.requests.values()), sum(self.weights.values())
        chances = {
            release: binomial_p_value(found, total, self.weights[release] / weighed) for release, found in self.requests.items()
        }
        release = min(chances, key=chances.__getitem__, default=None)
        return release if release is not None and chances[release] < ALPHA else None

    def describe_problem(self, hosts: Mapping[str, str]) -> str:
        """Say which share differs from its weight, and that no release advances; empty if none does.

        Args:
            hosts: The host of each release's Service.
        """
        if (release := self.find_difference()) is None:
            return ""
        total, name = sum(self.requests.values()), hosts.get(release, release).partition(".")[0]
        return (
            f"the gateway sent {self.requests[release]} of {total} requests to {name}, whose weight is "
            f"{self.weights[release]} %; chance does not explain that, so requests reach a release by another route; no release "
            "advances meanwhile"
        )
