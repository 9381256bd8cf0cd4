"""Requests by how they ended, as the gateway and the executors count them. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sluice.rollout.decisions.evidence import Counts

UNREACHED = frozenset({"502", "503", "504"})
"""Statuses with which the gateway itself answers if no executor does. The executor answers 500 in place of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Requests by how they ended.

    Attributes:
        answered: Requests with an answer below 400.
        failed: Requests with an answer from 500 on that an executor gave.
        unreached: Requests that the gateway answered itself, because no executor did (`UNREACHED`).
        rejected: Requests with an answer from 400 to 499.
        timed: Requests whose duration is known. The gateway may report a duration seconds later than the request.
        slow: Requests among `timed` that were slow.
    """

    answered: int = 0
    failed: int = 0
    unreached: int = 0
    rejected: int = 0
    timed: int = 0
    slow: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in KINDS})

    def __sub__(self, other: Tally) -> Tally:
        return Tally(**{name: getattr(self, name) - getattr(other, name) for name in KINDS})

    @property
    def ended(self) -> int:
        """All requests, however they ended."""
        return self.answered + self.failed + self.unreached + self.rejected

    def to_counts(self) -> Counts:
        """Return the counts that evidence consists of. A request that no executor answered is an error of the release.

        On a laptop, Envoy's 5xx contain such requests as well.
        """
        errors = self.failed + self.unreached
        return Counts(self.answered + errors, errors, self.timed, self.slow, self.rejected)


KINDS = tuple(one.name for one in dataclasses.fields(Tally))
NO_REQUESTS = Tally()


def tally_counts(counts: Counts) -> Tally:
    """Return what the executors counted as a tally. No executor can count what did not reach it."""
    return Tally(
        answered=counts.requests - counts.errors,
        failed=counts.errors,
        rejected=counts.rejected,
        timed=counts.timed,
        slow=counts.slow,
    )


def tally_since(before: Tally, now: Tally) -> Tally:
    """Return the growth of one proxy's counters. If any of them fell, the proxy was restarted and counts from zero."""
    grown = now - before
    return now if min(getattr(grown, name) for name in KINDS) < 0 else grown


def name_kind(status: str) -> str:
    """Return the kind of a request by the status of its answer; empty if it got none, because the client went away."""
    if status in UNREACHED:
        return "unreached"
    return {"1": "answered", "2": "answered", "3": "answered", "4": "rejected", "5": "failed"}.get(status[:1], "")
