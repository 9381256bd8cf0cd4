"""Whose fault a rejected request is. Pure.

A 4xx is the client's fault: a malformed request, wrong names, a wrong type. It does not count in either release. But a canary may
also reject what stable accepts, for example because it needs a column that no client sends. Stable is therefore asked a sample of
the requests that the canary rejected. The canary is blamed for the share of its rejections that stable accepts.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.decisions.interim_looks import LEVEL
from sluice.statistics.proportions import clopper_pearson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.evidence import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejections:
    """What was found out about the requests that a canary rejected.

    Attributes:
        rejected: The requests that it rejected.
        asked: Those of them that stable was asked, and that it answered.
        accepted: Those of `asked` that stable accepted.
    """

    rejected: int = 0
    asked: int = 0
    accepted: int = 0

    def __add__(self, other: Rejections) -> Rejections:
        return Rejections(
            rejected=self.rejected + other.rejected, asked=self.asked + other.asked, accepted=self.accepted + other.accepted
        )

    @property
    def blamed(self) -> int:
        """The rejections that the canary is blamed for: the share of the sample that stable accepted, of all of them."""
        return max(self.accepted, round(self.rejected * self.accepted / self.asked)) if self.asked else 0


NO_REJECTIONS = Rejections()


@dataclass(slots=True)
class BlameCollector:
    """The rejections that each canary was blamed for since this process started.

    Attributes:
        blamed: Rejections that count as errors, by release. They never fall, because the counts that they are added to do not.
        decided: Rejections of the running rollout that stable was asked about, or a sample of which it was asked about.
    """

    blamed: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    _rollout: str = ""

    def add(self, rollout: str, release: str, found: Rejections) -> None:
        """Add what was found out since the last call.

        Args:
            rollout: Id of the request. What was decided in another rollout is discarded.
            release: The canary.
            found: What was found out.
        """
        if rollout != self._rollout:
            self._rollout, self.decided = rollout, 0
        self.blamed[release] += found.blamed
        self.decided += found.rejected if found.asked else 0

    def add_to_counts(self, counts: Mapping[str, Counts] | None) -> dict[str, Counts] | None:
        """Return cumulative counts in which the rejections that a release is blamed for are requests and errors.

        A server also knows of requests that did not come through the proxy. So a release is blamed for no more rejections than
        were counted.
        """
        if counts is None:
            return None
        added = {release: min(self.blamed[release], found.rejected) for release, found in counts.items()}
        return {
            release: dataclasses.replace(found, requests=found.requests + added[release], errors=found.errors + added[release])
            for release, found in counts.items()
        }

    def describe_problem(self, canary: Counts, stable: Counts) -> str:
        """Describe why the canary must not advance, because nobody knows whose fault its rejections are; empty if it may.

        The proxy draws the release of each request at random, so clients cause the same share of rejections in both releases. A
        share that is certainly larger at the canary is the canary's own, although it is not known which requests they are.

        Args:
            canary: The canary's counts in this rollout.
            stable: Stable's counts in this rollout.
        """
        undecided = canary.rejected - self.decided
        if undecided <= 0:
            return ""
        low = clopper_pearson_interval(undecided, canary.requests + undecided, level=2 * LEVEL - 1).low
        high = clopper_pearson_interval(stable.rejected, stable.requests + stable.rejected, level=2 * LEVEL - 1).high
        if low <= high:
            return ""
        shares = f"{canary.rejected} of {canary.requests + canary.rejected} requests, stable {stable.rejected}"
        return (
            f"the canary rejected {shares} of {stable.requests + stable.rejected}, and stable could not be asked about "
            f"{undecided} of them; the canary does not advance meanwhile"
        )
