"""What a rule of the plan may look at while a rollout is running, and the plans that a rule may return."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.decisions.expected_times import compute_bake_share
from sluice.rollout.decisions.moves.capacities import describe_shortage, limit_share
from sluice.rollout.decisions.states import ALL_TRAFFIC, Phase, State
from sluice.rollout.decisions.transitions import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.health import Health
    from sluice.rollout.decisions.interim_looks import Judgement
    from sluice.rollout.decisions.states import Approval, Command, Journal, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a rule may look at while a rollout is running."""

    journal: Journal
    request: Request
    judgement: Judgement
    canary: Health
    stable: Health
    previous: Health
    now: float
    settings: RolloutTable

    @property
    def approved(self) -> bool:
        """Whether an approval of the rollout is valid now."""
        return self.approval is not None

    @property
    def approval(self) -> Approval | None:
        """The latest approval that is valid now; None if there is none."""
        request = self.request
        return self.journal.find_approval(request.release, request.steps, self.now, image=request.image)

    @property
    def hindrance(self) -> str:
        """Why the canary may take no traffic now, whatever the evidence says; empty if it may."""
        if not self.canary.verification.holds:
            return self.canary.verification.waiting or self.canary.verification.refusal
        return "" if self.canary.ready else "the canary's server is not ready"

    @property
    def late(self) -> bool:
        """Whether the deadline of the rollout has passed."""
        return self.now >= self.request.at + self.settings.deadline_seconds

    @property
    def bake_share(self) -> int:
        """The canary's per cent during the bake: all but the holdback, and never less than at the step before."""
        return compute_bake_share(self.request.steps, self.settings.holdback if self.journal.champion else 0)

    @property
    def next_share(self) -> int:
        """The canary's per cent after the next advance."""
        state, steps = self.journal.state, self.request.steps
        if state.phase is Phase.BAKING:
            return ALL_TRAFFIC
        share = steps[0 if state.step is None else state.step + 1]
        return self.bake_share if share == ALL_TRAFFIC else share

    @property
    def shortage(self) -> str:
        """The canary's Pods that have to be ready before it can take its next share; empty if enough of them are."""
        missing = describe_shortage(self.next_share, self.canary.pods, self.stable.pods, "the canary's")
        return f"waits for {missing} before it takes {self.next_share} %" if missing else ""

    @property
    def is_diverted(self) -> bool:
        """Whether all traffic was diverted to the canary."""
        return self.journal.state.returns_to is not None

    def stay(self, reason: str) -> Plan:
        """Change nothing, and say what the rollout waits for."""
        return stay_in_state(self.journal, reason, self.now)

    def complete_command(self, reason: str) -> Plan:
        """Mark the command as done without moving any traffic. What had moved to N-1 already returns to stable."""
        weights = self.journal.weights
        if not self.journal.state.phase.exposed and len(self.journal.desired_weights) > 1:
            weights = {release: ALL_TRAFFIC * (release == self.journal.champion) for release in weights}
        return dataclasses.replace(self.stay(reason), weights=weights, changes=True, completes_command=True)

    def move(self, phase: Phase, share: int, reason: str, *, step: int | None = None, promoted_by: str = "") -> Plan:
        """Enter `phase` with `share` per cent of the traffic for the canary."""
        state = State(phase=phase, step=step, since=self.now, promoted_by=promoted_by)
        return Plan(
            state=state,
            weights=split_traffic(self.journal.champion, self.request.release, share),
            reason=reason,
            decided_at=self.now,
            history=self.journal.history,
        )

    def end(self, phase: Phase, reason: str) -> Plan:
        """End the rollout with all traffic on stable. A canary that never took traffic is rejected, not rolled back.

        While a rollback from stable to N-1 is under way, N-1 keeps what it has already.
        """
        if self.journal.state.phase.exposed:
            return dataclasses.replace(self.move(phase, 0, reason), ends=True, completes_command=True)
        plan = self.move(Phase.REJECTED if phase is Phase.ROLLED_BACK else phase, 0, reason)
        weights = {**self.journal.weights, self.request.release: 0} if self.journal.weights else plan.weights
        return dataclasses.replace(plan, weights=weights, ends=True, completes_command=True)

    def end_by_command(self, phase: Phase, reason: str, command: Command) -> Plan:
        """End the rollout because a person ordered it, as fast as the ready Pods of stable can take the canary's traffic.

        If the canary has failed, or the person has waited for long enough, all of the traffic moves at once.
        """
        ended, share = self.end(phase, reason), self.journal.weights.get(self.request.release, 0)
        failed = self.judgement.failed or self.canary.failure or self.canary.verification.refusal
        if failed or not self.journal.state.phase.exposed or self.now >= command.at + self.settings.pods_wait_seconds:
            return ended
        back = max(ALL_TRAFFIC - share, limit_share(ALL_TRAFFIC, self.stable.pods, self.canary.pods))
        if back == ALL_TRAFFIC:
            return ended
        missing = describe_shortage(ALL_TRAFFIC, self.stable.pods, self.canary.pods, "stable's")
        weights = split_traffic(self.journal.champion, self.request.release, ALL_TRAFFIC - back)
        return move_part(self.journal, weights, f"{reason}: {back} % on stable; waits for {missing}", command, self.now)

    def condemn(self, reason: str) -> Plan:
        """End the rollout because the canary has failed."""
        return dataclasses.replace(self.end(Phase.ROLLED_BACK, reason), condemns=True)


def stay_in_state(journal: Journal, reason: str, now: float) -> Plan:
    """Change nothing, and say why."""
    return Plan(
        state=journal.state, weights=journal.weights, reason=reason, decided_at=now, history=journal.history, changes=False
    )


def move_part(journal: Journal, weights: Mapping[str, int], reason: str, command: Command, now: float) -> Plan:
    """Carry out a part of a command in the same state. The command keeps waiting, and the rest follows in later rounds."""
    stay = stay_in_state(journal, reason, now)
    if {release: share for release, share in weights.items() if share} == journal.desired_weights:
        return stay
    return dataclasses.replace(stay, weights=weights, changes=True, partial=True, commanded_by=command.by)


def split_traffic(stable: str | None, canary: str, share: int) -> dict[str, int]:
    """Return weights with `share` per cent for the canary. Both releases are in it, even with 0."""
    if stable is None:
        return {canary: ALL_TRAFFIC} if share == ALL_TRAFFIC else {}
    return {stable: ALL_TRAFFIC - share, canary: share}
