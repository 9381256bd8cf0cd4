"""The rollout's decisions: journal, judgement, health and time in; next state and wished weights out. Pure.

Down goes before up, a person's word before both, and nothing waits for an approval to go down::

    idle ─request→ awaiting_ready → awaiting_approval (→ shadow) → step-1 → … → baking → promoted
                        │                 │                └──────┬──────┘
                        └──── rejected ───┘            rolled_back, aborted

`rejected` is the end of a canary that never took traffic. The four ends are where the next request starts from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.states import ALL_TRAFFIC, CommandKind, Phase, Reign, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project import RolloutTable
    from sluice.rollout.looks import Judgement
    from sluice.rollout.states import Approval, Command, Journal, Request


@dataclass(frozen=True, slots=True)
class Health:
    """How a release's server is.

    Attributes:
        ready: It answers.
        failure: Why it was given up (it crash-loops, or its release is not sound); empty while it was not.
        parked: It is started only once it is approved, since what stands alone takes all the traffic.
        waiting: What it still waits for; empty where nobody can say.
    """

    ready: bool = False
    failure: str = ""
    waiting: str = ""
    parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do next.

    Attributes:
        state: The state to be in.
        weights: Per cent by release; empty before the first release, else summing to 100.
        reason: One sentence.
        decided_at: When it was decided; for a person's command when it was given.
        history: Champions, oldest first.
        changes: Whether anything is to be written; False holds.
        ends: The rollout, or the champion's time, is over.
        obeys: A command is done with.
        word_of: Who gave the command that it obeys; empty where the evidence, or the plan itself, decided.
    """

    state: State
    weights: Mapping[str, int]
    reason: str
    decided_at: float
    history: tuple[Reign, ...]
    changes: bool = True
    ends: bool = False
    obeys: bool = False
    word_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    """Everything that a rule looks at."""

    journal: Journal
    request: Request
    judgement: Judgement
    canary: Health
    previous: Health
    now: float
    settings: RolloutTable

    @property
    def approved(self) -> bool:
        return self.approval is not None

    @property
    def approval(self) -> Approval | None:
        request = self.request
        return self.journal.find_approval(request.release, request.steps, self.now, image=request.image)

    @property
    def top_share(self) -> int:
        """The canary's per cent while it bakes: all but the holdback, and not less than at the step before."""
        holdback = self.settings.holdback if self.journal.champion else 0
        return max(ALL_TRAFFIC - holdback, *self.request.steps[:-1], 0)

    def hold(self, reason: str) -> Plan:
        return _hold(self.journal, reason, self.now)

    def settle(self, reason: str) -> Plan:
        """Be done with a command, and move nothing."""
        return dataclasses.replace(self.hold(reason), changes=True, obeys=True)

    def go(self, phase: Phase, share: int, reason: str, *, step: int | None = None, word_of: str = "") -> Plan:
        """Move to `phase` with `share` per cent for the canary."""
        state = State(phase=phase, step=step, since=self.now, word_of=word_of)
        return Plan(
            state=state,
            weights=_share(self.journal.champion, self.request.release, share),
            reason=reason,
            decided_at=self.now,
            history=self.journal.history,
        )

    def end(self, phase: Phase, reason: str) -> Plan:
        """End with all traffic on stable; a canary that never took any was rejected, not rolled back."""
        if not self.journal.state.phase.exposed and phase is Phase.ROLLED_BACK:
            phase = Phase.REJECTED
        return dataclasses.replace(self.go(phase, 0, reason), ends=True, obeys=True)


def plan_next(
    journal: Journal, judgement: Judgement, health: Mapping[str, Health], *, now: float, settings: RolloutTable
) -> Plan:
    """Decide.

    Args:
        journal: Where everything stands.
        judgement: What the evidence says about the running canary.
        health: The servers, by release; a release that is not in it is not ready.
        now: Seconds since the epoch.
        settings: ``[rollout]``; the steps are the request's own.

    Returns:
        What to do; a plan with `changes` False holds and says why.
    """
    if journal.request is None:
        return _plan_idle(journal, health, now, settings)
    situation = _Situation(
        journal=journal,
        request=journal.request,
        judgement=judgement,
        canary=health.get(journal.request.release, Health()),
        previous=health.get(journal.previous or "", Health()),
        now=now,
        settings=settings,
    )
    for rule in (_obey, _go_down):
        if (plan := rule(situation)) is not None:
            return plan
    return _GO_UP[journal.state.phase](situation)


def _hold(journal: Journal, reason: str, now: float) -> Plan:
    return Plan(
        state=journal.state, weights=journal.weights, reason=reason, decided_at=now, history=journal.history, changes=False
    )


def _share(stable: str | None, canary: str, share: int) -> dict[str, int]:
    """Weights with `share` per cent for the canary, both named even at 0."""
    if stable is None:
        return {canary: ALL_TRAFFIC} if share == ALL_TRAFFIC else {}
    return {stable: ALL_TRAFFIC - share, canary: share}


def _plan_idle(journal: Journal, health: Mapping[str, Health], now: float, settings: RolloutTable) -> Plan:
    """Nothing is running: the only thing to do is a rollback to N-1, by hand."""
    command = journal.command
    if command is None:
        return _hold(journal, "no rollout is running" if journal.champion else "there is no champion yet", now)
    obeyed = dataclasses.replace(_hold(journal, "", command.at), changes=True, obeys=True, word_of=command.by)
    previous = health.get(journal.previous or "", Health())
    if command.kind is CommandKind.ROLLBACK and command.target and command.target == journal.champion:
        return dataclasses.replace(obeyed, reason=_describe_done(command))
    if why := _refuse_idle(journal, command) or _refuse_to_wait(previous, command, now, settings):
        return dataclasses.replace(obeyed, reason=f"{command.kind.value} by {command.by} refused: {why}")
    if not previous.ready:
        return _hold(journal, f"rollback by {command.by} waits: N-1's server is not ready", now)
    return dataclasses.replace(
        obeyed,
        state=State(phase=Phase.ROLLED_BACK, since=now),
        weights=_share(journal.previous, journal.champion or "", 0),
        reason=f"rolled back to N-1 by {command.by}",
        history=journal.history[:-1],
        ends=True,
    )


def _refuse_idle(journal: Journal, command: Command) -> str:
    """Why a command is refused while no rollout is running; empty where it is not."""
    if command.kind is not CommandKind.ROLLBACK:
        return "no rollout is running"
    if journal.previous is None:
        return "there is no N-1"
    return "" if command.target in {"", journal.previous} else f"{command.target[:19]} is not N-1 any more"


def _refuse_to_wait(previous: Health, command: Command, now: float, settings: RolloutTable) -> str:
    """Why a rollback does not wait for N-1 any longer: one that waited for ever would end every rollout that comes after it."""
    if previous.failure:
        return f"N-1's server was given up: {previous.failure}"
    if not previous.ready and now >= command.at + settings.deadline_seconds:
        return f"N-1's server was not ready within {settings.deadline_seconds:g} s"
    return ""


def _obey(situation: _Situation) -> Plan | None:
    """A person's word: down at once; up to 100 % where the canary takes traffic already, which an approval allowed."""
    command = situation.journal.command
    if command is None:
        return None
    if command.kind is CommandKind.PROMOTE:
        return None if situation.judgement.condemned or _is_late(situation) else _obey_promote(situation, command.by)
    return dataclasses.replace(_obey_down(situation, command), decided_at=command.at, word_of=command.by)


def _obey_down(situation: _Situation, command: Command) -> Plan:
    if command.kind is CommandKind.ABORT:
        return situation.end(Phase.ABORTED, f"aborted by {command.by}")
    to_stable = command.target in {"", situation.journal.champion}
    if situation.journal.state.phase.exposed and to_stable:
        return situation.end(Phase.ROLLED_BACK, f"rolled back by {command.by}")
    if command.target and to_stable:
        return situation.settle(_describe_done(command))
    if not situation.previous.ready:
        return situation.settle(f"rollback by {command.by} refused: N-1's server is not ready, and the canary need not go for it")
    # What is to be rolled back is the champion. This ends the rollout, the next plan obeys.
    return dataclasses.replace(situation.end(Phase.ABORTED, f"aborted: {command.by} rolls the champion back"), obeys=False)


def _describe_done(command: Command) -> str:
    """A rollback to the release that has all the traffic by now: the canary that it was to leave went down by itself."""
    return f"rollback by {command.by}: {command.target[:19]} has all the traffic already"


def _obey_promote(situation: _Situation, by: str) -> Plan:
    state = situation.journal.state
    if not state.phase.exposed or not situation.approved:
        plan = situation.settle(f"promote by {by} refused: the canary is not at a step, or its approval has expired")
        return dataclasses.replace(plan, word_of=by)
    last, share = len(situation.request.steps) - 1, situation.top_share
    plan = situation.go(Phase.BAKING, share, f"taken to {share} % on the word of {by}", step=last, word_of=by)
    if state.phase is Phase.BAKING:
        plan = dataclasses.replace(plan, state=dataclasses.replace(plan.state, since=state.since))
    return dataclasses.replace(plan, obeys=True, word_of=by)


def _is_late(situation: _Situation) -> bool:
    return situation.now >= situation.request.at + situation.settings.deadline_seconds


def _go_down(situation: _Situation) -> Plan | None:
    """Condemned by the evidence, given up by its server, or out of time."""
    if situation.journal.state.phase.judged and situation.judgement.condemned:
        return situation.end(Phase.ROLLED_BACK, situation.judgement.reason)
    if situation.canary.failure:
        return situation.end(Phase.ROLLED_BACK, f"the canary's server was given up: {situation.canary.failure}")
    if _is_late(situation):
        limit = f"not promoted within the deadline of {situation.settings.deadline_seconds:g} s"
        return situation.end(Phase.ROLLED_BACK, f"{limit}; last: {_last_hold(situation)}")
    return None


def _last_hold(situation: _Situation) -> str:
    """What a rollout that ran out of time was waiting for."""
    if not situation.canary.ready:
        return "the canary's server is not ready"
    return situation.judgement.reason if situation.approved else "no approval holds for this release and these steps"


def _await_ready(situation: _Situation) -> Plan:
    if situation.canary.parked:
        return situation.go(Phase.AWAITING_APPROVAL, 0, "the first release is started once it is approved")
    if not situation.canary.ready:
        waiting = situation.canary.waiting
        return situation.hold(f"the canary's server is starting{': ' if waiting else ''}{waiting}")
    return situation.go(Phase.AWAITING_APPROVAL, 0, "the canary's server is ready")


def _await_approval(situation: _Situation) -> Plan:
    approval = situation.approval
    if approval is None:
        return situation.hold("waits for an approval of this release and these steps")
    if not situation.canary.ready:
        return situation.hold("approved; the canary's server is not ready")
    if situation.journal.champion is None:
        return _promote(situation, f"first release, approved by {approval.by}: there is nothing to compare it with")
    if situation.settings.shadow_requests:
        return situation.go(Phase.SHADOW, 0, f"approved by {approval.by}")
    return _enter_step(situation, 0, f"approved by {approval.by}")


def _leave_shadow(situation: _Situation) -> Plan:
    """To the first step where what it answers is near enough to what stable answered."""
    if (waiting := _wait_to_rise(situation)) is not None:
        return waiting
    return _enter_step(situation, 0, situation.judgement.reason)


def _climb(situation: _Situation) -> Plan:
    """At a step: up where the last look passed, else hold."""
    if (waiting := _wait_to_rise(situation)) is not None:
        return waiting
    return _enter_step(situation, (situation.journal.state.step or 0) + 1, situation.judgement.reason)


def _bake(situation: _Situation) -> Plan:
    """At 100 %: promoted where the time is over and the last look passed, or a person's word stands for it."""
    left = situation.journal.state.since + situation.settings.bake_seconds - situation.now
    if left > 0:
        return situation.hold(f"baking for {left:.0f} s more; {situation.judgement.reason}")
    word_of = situation.journal.state.word_of
    if (waiting := _wait_to_rise(situation, word_of=word_of)) is not None:
        return waiting
    return _promote(situation, f"baked, on the word of {word_of}" if word_of else f"baked; {situation.judgement.reason}")


def _wait_to_rise(situation: _Situation, *, word_of: str = "") -> Plan | None:
    """Why it cannot go up now; None where it can."""
    if not word_of and not situation.judgement.passed:
        return situation.hold(situation.judgement.reason)
    if not situation.approved:
        return situation.hold("the approval has expired: waits for another one")
    return None if situation.canary.ready else situation.hold("the canary's server is not ready")


def _enter_step(situation: _Situation, step: int, reason: str) -> Plan:
    share = situation.request.steps[step]
    if share == ALL_TRAFFIC:
        return situation.go(Phase.BAKING, situation.top_share, reason, step=step)
    return situation.go(Phase.STEP, share, reason, step=step)


def _promote(situation: _Situation, reason: str) -> Plan:
    request = situation.request
    reign = Reign(release=request.release, by=request.by, at=situation.now, number=request.number, image=request.image)
    # A release that comes back is champion anew; its earlier time would make it its own N-1.
    history = (*(one for one in situation.journal.history if one.release != reign.release), reign)
    return dataclasses.replace(situation.go(Phase.PROMOTED, ALL_TRAFFIC, reason), history=history, ends=True, obeys=True)


_GO_UP: Mapping[Phase, Callable[[_Situation], Plan]] = {
    Phase.AWAITING_READY: _await_ready,
    Phase.AWAITING_APPROVAL: _await_approval,
    Phase.SHADOW: _leave_shadow,
    Phase.STEP: _climb,
    Phase.BAKING: _bake,
}
