"""Collecting evidence: from one observation of the proxy to the next, on every platform.

The collector keeps state but does no I/O. The control round passes in what the platform observed, and the platform stores the
checkpoint.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.rollout.decisions.evidence import (
    NO_COUNTS,
    Checkpoint,
    Counts,
    Evidence,
    Window,
    count_since,
)
from sluice.rollout.decisions.evidence_updates import add_window_to_evidence, enter_state
from sluice.rollout.decisions.expected_times import NO_TRAFFIC, Traffic
from sluice.rollout.decisions.interim_looks import Judgement
from sluice.rollout.decisions.judgements import describe, judge, predict_next_look
from sluice.rollout.decisions.shadow_comparisons import Comparison, add_comparison, judge_comparison
from sluice.rollout.decisions.states import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import Journal, Request


@dataclass(slots=True)
class EvidenceCollector:
    """The evidence of the running rollout, and the record of each champion.

    Attributes:
        settings: ``[rollout]``.
        evidence: The evidence of the running rollout; None if none is running.
        recorded: Counts of each champion during its term. The bake compares a canary with this record.
        traffic: The measured traffic.
        applied_weights: Per cents above 0 that the proxy applied at the last observation.
        observed_at: When that was, by a clock that never goes back.
        counts: Cumulative counts at the last observation, by release.
    """

    settings: RolloutTable
    evidence: Evidence | None = None
    recorded: dict[str, Counts] = field(default_factory=dict)
    traffic: Traffic = NO_TRAFFIC
    applied_weights: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    observed_at: float = 0.0
    _window_is_valid: bool = False

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue with the evidence of an earlier process."""
        self.evidence, self.recorded, self.traffic = checkpoint.evidence, dict(checkpoint.recorded), checkpoint.traffic
        self.discard_window()

    def discard_window(self) -> None:
        """Discard what is counted until the next observation, because the counts of two situations would be mixed."""
        self._window_is_valid = False

    def add_observation(
        self, journal: Journal, weights: Mapping[str, int], counts: Mapping[str, Counts], *, now: float, stable_ready: bool
    ) -> bool:
        """Add what was counted since the last observation. It is evidence only if the desired weights applied all the time.

        Args:
            journal: The present state of the rollout.
            weights: Per cents above 0 that the proxy applies.
            counts: Cumulative counts by release.
            now: Seconds, by a clock that never goes back.
            stable_ready: Whether the champion can serve. Its own outage says nothing about the canary.

        Returns:
            Whether there is something new to store.
        """
        grown = {release: count_since(self.counts.get(release), found) for release, found in counts.items()}
        steady = self._window_is_valid and weights == self.applied_weights == journal.desired_weights
        seconds = now - self.observed_at
        if self._window_is_valid:
            self.traffic = self.traffic.add(sum(found.requests for found in grown.values()), seconds)
        self.start_window(weights, counts, now=now)
        champion = journal.champion
        if champion is None or not steady or not stable_ready:
            return False
        stable = grown.get(champion, NO_COUNTS)
        if weights.get(champion):
            self.recorded[champion] = self.recorded.get(champion, NO_COUNTS) + stable
        if journal.request is None:
            self.evidence = None
        elif journal.state.phase.exposed and journal.state.returns_to is None:
            target = journal.request.release
            evidence = self._enter(journal, journal.request)
            share = journal.weights.get(target, 0)
            window = Window(canary=grown.get(target, NO_COUNTS), stable=stable, share=share, seconds=seconds)
            self.evidence = add_window_to_evidence(evidence, window, self.settings, recorded=self.recorded.get(champion))
        return any(found.requests for found in grown.values())

    def start_window(self, weights: Mapping[str, int], counts: Mapping[str, Counts], *, now: float) -> None:
        """Start a new window with these weights and cumulative counts."""
        self.applied_weights, self.counts, self.observed_at = dict(weights), dict(counts), now
        self._window_is_valid = True

    def judge(self, journal: Journal) -> Judgement:
        """Judge the canary by the evidence. The counts of one step never decide about the next step."""
        if journal.request is None:
            return Judgement()
        self.evidence = self._enter(journal, journal.request)
        if journal.state.phase is Phase.SHADOW:
            return judge_comparison(self.evidence.shadow, self.settings)
        return judge(self.evidence, self.settings)

    def add_shadow_answers(self, journal: Journal, request: Request, found: Comparison) -> None:
        """Add what the shadow of the running rollout found."""
        evidence = self._enter(journal, request)
        self.evidence = dataclasses.replace(evidence, shadow=add_comparison(evidence.shadow, found, self.settings))

    def _enter(self, journal: Journal, request: Request) -> Evidence:
        record = self.recorded.get(journal.champion or "", NO_COUNTS)
        return enter_state(self.evidence, request, journal.state, self.settings, champion_record=record)

    def describe(self, journal: Journal) -> dict[str, Any]:
        """Return the measured traffic and the numbers of the running rollout as plain JSON types."""
        measured: dict[str, Any] = dict(self.traffic.describe())
        if self.evidence is None or journal.request is None:
            return measured
        share = journal.weights.get(journal.request.release, 0)
        seconds = predict_next_look(self.evidence, share, self.traffic.rate, self.settings)
        return measured | describe(self.evidence, self.settings) | ({} if seconds is None else {"seconds_to_next_look": seconds})

    def checkpoint(self) -> Checkpoint:
        """Return the evidence, and the records of the releases that still have counters, for a process that restarts."""
        recorded = {release: counts for release, counts in self.recorded.items() if release in self.counts}
        return Checkpoint(evidence=self.evidence, recorded=recorded, traffic=self.traffic)
