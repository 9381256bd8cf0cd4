"""From one look at the proxy to the next: what the counters grew by, gathered as evidence. The same for every splitter.

State, but no I/O: whoever looks hands in what was seen, and keeps what `checkpoint` gives.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.comparisons import Comparison, add_comparison, judge_comparison
from sluice.rollout.evidence import (
    NO_COUNTS,
    Checkpoint,
    Counts,
    Evidence,
    Window,
    count_since,
    describe,
    enter_state,
    judge,
    observe,
)
from sluice.rollout.looks import Judgement
from sluice.rollout.states import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from sluice.project import RolloutTable
    from sluice.rollout.states import Journal, Request


@dataclass(slots=True)
class Gathering:
    """The evidence of the running rollout, and each champion's record.

    Attributes:
        settings: ``[rollout]``.
        evidence: Of the running rollout; None where none is running.
        recorded: Counts of each champion while it was one: what a bake holds a canary against.
        seen: Per cents above 0 that the proxy applied at the last look.
        counts: Counters at the last look, by release.
    """

    settings: RolloutTable
    evidence: Evidence | None = None
    recorded: dict[str, Counts] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    _trusted: bool = False

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over what a predecessor had gathered."""
        self.evidence, self.recorded = checkpoint.evidence, dict(checkpoint.recorded)

    def distrust(self) -> None:
        """Something happened since the last look that mixes what was counted: the next one only counts anew."""
        self._trusted = False

    def look(self, journal: Journal, seen: Mapping[str, int], counts: Mapping[str, Counts], *, stable_ready: bool) -> bool:
        """Take a look; what was counted is evidence where all of it fell under the weights that the journal wishes.

        Args:
            journal: Where everything stands.
            seen: Per cents above 0 that the proxy applies.
            counts: Its counters by release, as they stand.
            stable_ready: Whether the champion can serve: what an outage of it does to it says nothing about the canary.

        Returns:
            Whether there is something new to keep.
        """
        grown = {release: count_since(self.counts.get(release), found) for release, found in counts.items()}
        steady = self._trusted and seen == self.seen == journal.shares
        self.moved(seen, counts)
        self._trusted = True
        champion = journal.champion
        if champion is None or not steady or not stable_ready:
            return False
        stable = grown.get(champion, NO_COUNTS)
        if seen.get(champion):
            self.recorded[champion] = self.recorded.get(champion, NO_COUNTS) + stable
        if journal.request is None:
            self.evidence = None
        elif journal.state.phase.exposed:
            target = journal.request.release
            evidence = self._enter(journal, journal.request)
            window = Window(canary=grown.get(target, NO_COUNTS), stable=stable, share=journal.weights.get(target, 0))
            self.evidence = observe(evidence, window, self.settings, recorded=self.recorded.get(champion))
        return any(found.requests for found in grown.values())

    def moved(self, seen: Mapping[str, int], counts: Mapping[str, Counts]) -> None:
        """The weights were changed, and read anew: from here on the counters count under them."""
        self.seen, self.counts = dict(seen), dict(counts)

    def judge(self, journal: Journal) -> Judgement:
        """What the evidence says; what was counted at one step never speaks for the next."""
        if journal.request is None:
            return Judgement()
        self.evidence = self._enter(journal, journal.request)
        if journal.state.phase is Phase.SHADOW:
            return judge_comparison(self.evidence.shadow, self.settings)
        return judge(self.evidence, self.settings)

    def compare(self, journal: Journal, request: Request, found: Comparison) -> None:
        """Take in what a round of the running rollout's shadow found."""
        evidence = self._enter(journal, request)
        self.evidence = dataclasses.replace(evidence, shadow=add_comparison(evidence.shadow, found, self.settings))

    def _enter(self, journal: Journal, request: Request) -> Evidence:
        usual = self.recorded.get(journal.champion or "", NO_COUNTS)
        return enter_state(self.evidence, request, journal.state, self.settings, usual=usual)

    def describe(self, journal: Journal) -> dict[str, Any]:
        """The running rollout's numbers as plain JSON types; empty where none is running."""
        return describe(self.evidence, self.settings) if self.evidence and journal.request else {}

    def checkpoint(self, releases: Collection[str]) -> Checkpoint:
        """What a successor goes on with; the records of these releases only."""
        recorded = {release: counts for release, counts in self.recorded.items() if release in releases}
        return Checkpoint(evidence=self.evidence, recorded=recorded)
