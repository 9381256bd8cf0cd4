"""The decisions of a rollout: a pure function from journal, judgement, health and time to the next state and the desired weights.

A rollback takes precedence over a promotion. A command from a person takes precedence over both. A rollback needs no approval::

    idle ─request→ awaiting_ready → awaiting_approval (→ shadow) → step-1 → … → baking → promoted
                        └────────┬────────┘                └──────┬──────┘
                        rejected, aborted              rolled_back, aborted

An alarm in the bake moves the canary back to the step before it, once. A canary that never took traffic ends as `rejected`. The
next request starts from any of the four ends. While stable answers nobody, a canary with traffic that answers gets all of it.
A canary advances, and a person's command moves traffic, only as far as the ready Pods can take it (``moves.capacities``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.moves.capacities import describe_shortage, limit_share
from sluice.rollout.decisions.moves.situations import Situation, move_part, split_traffic, stay_in_state
from sluice.rollout.decisions.states import ALL_TRAFFIC, ChampionTerm, CommandKind, Phase, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.interim_looks import Judgement
    from sluice.rollout.decisions.states import Command, Journal
    from sluice.rollout.decisions.transitions import Plan


LARGEST_COMPARED_SHARE = 25
"""Largest share, in per cent, to which an alarm in the bake moves the canary back. With more, the comparison takes longer."""


def plan_next(
    journal: Journal, judgement: Judgement, health: Mapping[str, Health], *, now: float, settings: RolloutTable
) -> Plan:
    """Decide what happens next.

    Args:
        journal: The present state of the rollout.
        judgement: What the evidence says about the running canary.
        health: The health of the servers, by release. A release that is missing is not ready.
        now: Seconds since the epoch.
        settings: ``[rollout]``. The steps come from the request, not from here.

    Returns:
        The next decision. If its `changes` is False, the rollout stays as it is and `reason` says why.
    """
    if journal.request is None:
        return _plan_idle(journal, health, now, settings)
    situation = Situation(
        journal=journal,
        request=journal.request,
        judgement=judgement,
        canary=health.get(journal.request.release, Health()),
        stable=health.get(journal.champion or "", Health()),
        previous=health.get(journal.previous or "", Health()),
        now=now,
        settings=settings,
    )
    for rule in (_carry_out_command, _roll_back, _divert):
        if (plan := rule(situation)) is not None:
            return plan
    return _ADVANCE[journal.state.phase](situation)


def _plan_idle(journal: Journal, health: Mapping[str, Health], now: float, settings: RolloutTable) -> Plan:
    """Decide while no rollout is running. Only a command to roll back to N-1 can change anything then."""
    command = journal.command
    if command is None:
        return stay_in_state(journal, "no rollout is running" if journal.champion else "there is no champion yet", now)
    kept = split_traffic(journal.champion, journal.previous or "", 0) if len(journal.desired_weights) > 1 else journal.weights
    done = stay_in_state(journal, "", command.at)
    done = dataclasses.replace(done, weights=kept, changes=True, completes_command=True, commanded_by=command.by)
    previous, champion = health.get(journal.previous or "", Health()), health.get(journal.champion or "", Health())
    if command.kind is CommandKind.ROLLBACK and command.target and command.target == journal.champion:
        return dataclasses.replace(done, reason=_describe_done(command))
    if why := _refuse_while_idle(journal, command) or _refuse_to_wait(previous, command, now, settings):
        return dataclasses.replace(done, reason=f"{command.kind.value} by {command.by} refused: {why}")
    if not previous.ready:
        return move_part(journal, kept, f"rollback by {command.by} waits: N-1's server is not ready", command, now)
    share, missing = ALL_TRAFFIC, describe_shortage(ALL_TRAFFIC, previous.pods, champion.pods, "N-1's")
    if missing and now < command.at + settings.pods_wait_seconds:
        share = limit_share(share, previous.pods, champion.pods)
    weights = split_traffic(journal.previous, journal.champion or "", ALL_TRAFFIC - share)
    if share < ALL_TRAFFIC:
        reason = f"rollback to N-1 by {command.by}: {share} % moved; waits for {missing}"
        return move_part(journal, weights, reason, command, now)
    late = f"; {missing} did not become ready within {settings.pods_wait_seconds:g} s" if missing else ""
    return dataclasses.replace(
        done,
        state=State(phase=Phase.ROLLED_BACK, since=now),
        weights=weights,
        reason=f"rolled back to N-1 by {command.by}{late}",
        history=journal.history[:-1],
        ends=True,
    )


def _refuse_while_idle(journal: Journal, command: Command) -> str:
    """Return why a command is refused while no rollout is running; empty if it is not."""
    if command.kind is not CommandKind.ROLLBACK:
        return "no rollout is running"
    if journal.previous is None:
        return "there is no N-1"
    return "" if command.target in {"", journal.previous} else f"{command.target[:19]} is not N-1 any more"


def _refuse_to_wait(previous: Health, command: Command, now: float, settings: RolloutTable) -> str:
    """Return why a rollback stops waiting for N-1, because it would end each later rollout; empty if it may wait."""
    if previous.failure:
        return f"N-1's server failed: {previous.failure}"
    if not previous.ready and now >= command.at + settings.deadline_seconds:
        return f"N-1's server was not ready within {settings.deadline_seconds:g} s"
    return ""


def _carry_out_command(situation: Situation) -> Plan | None:
    """Carry out the command that waits. A promotion does not apply to a canary that failed or that is past its deadline."""
    command = situation.journal.command
    if command is None:
        return None
    if command.kind is CommandKind.PROMOTE:
        failed = situation.judgement.failed or situation.canary.failure
        return None if failed or situation.late else _carry_out_promote(situation, command)
    plan = _carry_out_abort_or_rollback(situation, command)
    return plan if plan.partial or not plan.changes else dataclasses.replace(plan, decided_at=command.at, commanded_by=command.by)


def _carry_out_abort_or_rollback(situation: Situation, command: Command) -> Plan:
    if command.kind is CommandKind.ABORT:
        return situation.end_by_command(Phase.ABORTED, f"aborted by {command.by}", command)
    to_stable = command.target in {"", situation.journal.champion}
    if situation.journal.state.phase.exposed and to_stable:
        return situation.end_by_command(Phase.ROLLED_BACK, f"rolled back by {command.by}", command)
    if command.target and to_stable:
        return situation.complete_command(_describe_done(command))
    if command.target not in {"", situation.journal.previous}:
        why = f"{command.target[:19]} is neither the champion nor N-1 any more"
        return situation.complete_command(f"rollback by {command.by} refused: {why}")
    if not situation.previous.ready:
        why = "N-1's server is not ready, and the canary does not have to end for it"
        return situation.complete_command(f"rollback by {command.by} refused: {why}")
    # The person wants to leave the champion. This plan ends the rollout; the next one carries out the rollback.
    ended = situation.end(Phase.ABORTED, f"aborted, because {command.by} rolls the champion back")
    return dataclasses.replace(ended, completes_command=False)


def _describe_done(command: Command) -> str:
    """Describe a rollback to a release that has all traffic by now, because its canary was rolled back in the meantime."""
    return f"rollback by {command.by}: {command.target[:19]} has all the traffic already"


def _carry_out_promote(situation: Situation, command: Command) -> Plan:
    state, by = situation.journal.state, command.by
    why = "" if situation.canary.verification.holds else situation.hindrance
    if not state.phase.exposed or not situation.approved:
        why = "the canary is not at a step, or its approval has expired"
    if why:
        return dataclasses.replace(situation.complete_command(f"promote by {by} refused: {why}"), commanded_by=by)
    last, share = len(situation.request.steps) - 1, situation.bake_share
    if missing := describe_shortage(share, situation.canary.pods, situation.stable.pods, "the canary's"):
        return situation.stay(f"promote by {by} waits for {missing} before {share} %")
    why = f": {command.reason}" if command.reason else ""
    reason = f"moved to {share} % without waiting for the evidence, by the command of {by}{why}"
    plan = situation.move(Phase.BAKING, share, reason, step=last, promoted_by=by)
    since = state.since if state.phase is Phase.BAKING else plan.state.since
    back, weights = (share, situation.journal.weights) if situation.is_diverted else (None, plan.weights)
    after = dataclasses.replace(plan.state, since=since, returns_to=back)
    return dataclasses.replace(plan, state=after, weights=weights, completes_command=True, commanded_by=by)


def _roll_back(situation: Situation) -> Plan | None:
    """Roll the canary back if it is refused, the evidence fails it, its server failed, or the deadline has passed.

    A refused release is not condemned, because nothing is known about its model, which another release may have as well.
    """
    if refusal := situation.canary.verification.refusal:
        return situation.end(Phase.ROLLED_BACK, f"the release is refused: {refusal}")
    if situation.journal.state.phase.judged and situation.judgement.failed:
        return situation.condemn(situation.judgement.reason)
    if situation.canary.failure:
        return situation.condemn(f"the canary's server failed: {situation.canary.failure}")
    if situation.late and not (situation.is_diverted and not situation.stable.ready):
        limit = f"not promoted within the deadline of {situation.settings.deadline_seconds:g} s"
        return situation.end(Phase.ROLLED_BACK, f"{limit}; last: {_describe_wait(situation)}")
    return None


def _divert(situation: Situation) -> Plan | None:
    """Send all traffic to the canary while stable answers nobody, and return to the weights of the state when it answers again.

    The bake begins anew then. Meanwhile nothing is evidence, and the deadline waits, because only the canary answers. Only a bake
    that a person ordered goes on, so that a stable that never answers again can be replaced.
    """
    journal, state, stable = situation.journal, situation.journal.state, situation.stable
    share = journal.weights.get(situation.request.release, 0)
    if state.returns_to is not None:
        if not stable.ready:
            reason = "stable answers nobody, so the canary has all the traffic until stable answers again"
            return None if state.promoted_by else situation.stay(reason)
        missing = describe_shortage(ALL_TRAFFIC - state.returns_to, stable.pods, situation.canary.pods, "stable's")
        if missing:
            return situation.stay(f"stable answers again; the canary keeps all the traffic and waits for {missing}")
        plan, back = situation.move(state.phase, state.returns_to, f"stable answers again: back to {state.returns_to} %"), None
    elif state.phase.exposed and share < ALL_TRAFFIC and stable.answers_nobody:
        if situation.hindrance or situation.judgement.alarm or not situation.approved:
            return None
        silent = f"stable has answered nobody for {stable.silent_seconds:.0f} s"
        reason = f"{silent}, and the canary answers: it gets all traffic until stable answers again"
        plan, back = situation.move(state.phase, ALL_TRAFFIC, reason), share
    else:
        return None
    return dataclasses.replace(plan, state=dataclasses.replace(state, since=situation.now, returns_to=back))


def _describe_wait(situation: Situation) -> str:
    """Describe what a rollout was waiting for when its deadline passed."""
    if situation.hindrance:
        return situation.hindrance
    if not situation.approved:
        return "no approval is valid for this release and these steps"
    return situation.shortage if situation.judgement.passed and situation.shortage else situation.judgement.reason


def _await_ready(situation: Situation) -> Plan:
    if not situation.canary.verification.holds:
        return situation.stay(situation.hindrance)
    if situation.canary.held_for_approval:
        return situation.move(Phase.AWAITING_APPROVAL, 0, "the server of the first release starts after its approval")
    if not situation.canary.ready:
        waiting = situation.canary.waiting
        return situation.stay(f"the canary's server is starting{': ' if waiting else ''}{waiting}")
    return situation.move(Phase.AWAITING_APPROVAL, 0, "the canary's server is ready")


def _await_approval(situation: Situation) -> Plan:
    approval = situation.approval
    if approval is None:
        return situation.stay("waits for an approval of this release and these steps")
    if situation.hindrance:
        return situation.stay(f"approved; {situation.hindrance}")
    if situation.journal.champion is None:
        return _promote(situation, f"first release, approved by {approval.by}: there is no champion to compare it with")
    if situation.shortage:
        return situation.stay(f"approved; {situation.shortage}")
    if situation.settings.shadow_requests:
        return situation.move(Phase.SHADOW, 0, f"approved by {approval.by}")
    return _enter_step(situation, 0, f"approved by {approval.by}")


def _leave_shadow(situation: Situation) -> Plan:
    """Enter the first step if the canary's answers are close enough to those of stable."""
    if (waiting := _wait_to_advance(situation)) is not None:
        return waiting
    return _enter_step(situation, 0, situation.judgement.reason)


def _leave_step(situation: Situation) -> Plan:
    """Enter the next step if the last interim look passed; otherwise stay."""
    if (waiting := _wait_to_advance(situation)) is not None:
        return waiting
    step = situation.journal.state.step
    return _enter_step(situation, 0 if step is None else step + 1, situation.judgement.reason)


def _bake(situation: Situation) -> Plan:
    """Promote the canary if the bake time is over and the last interim look passed, or a person ordered the promotion."""
    if situation.judgement.alarm:
        return _step_back(situation)
    left = situation.journal.state.since + situation.settings.bake_seconds - situation.now
    if left > 0:
        return situation.stay(f"baking for {left:.0f} s more; {situation.judgement.reason}")
    by = situation.journal.state.promoted_by
    if (waiting := _wait_to_advance(situation, promoted_by=by)) is not None:
        return waiting
    return _promote(situation, f"baked; promoted by {by}" if by else f"baked; {situation.judgement.reason}")


def _step_back(situation: Situation) -> Plan:
    """Move the canary back to a step, where the comparison with stable shows whether the canary fails or the platform.

    This happens once in a rollout. If the alarm is raised again, either the canary fails only under the full load, or a second
    incident has begun. The canary is rolled back, to be safe.
    """
    alarm, request, last = situation.judgement.alarm, situation.request, len(situation.request.steps) - 2
    moved = [(one.from_state, one.to_state) for one in situation.journal.transitions if one.rollout == request.id]
    if any(before == Phase.BAKING.value and after.startswith(Phase.STEP.value) for before, after in moved):
        return situation.end(Phase.ROLLED_BACK, f"{alarm}, as in the bake before")
    share = min(request.steps[last], LARGEST_COMPARED_SHARE) if last >= 0 else LARGEST_COMPARED_SHARE
    reason = f"{alarm}; moved back to {share} % to see whether the canary fails or the platform"
    return situation.move(Phase.STEP, share, reason, step=last if last >= 0 else None)


def _wait_to_advance(situation: Situation, *, promoted_by: str = "") -> Plan | None:
    """Return the plan that waits, with the reason; None if the canary may advance now."""
    if not promoted_by and not situation.judgement.passed:
        return situation.stay(situation.judgement.reason)
    if not situation.approved:
        return situation.stay("the approval has expired; waits for a new one")
    waiting = situation.hindrance or situation.shortage
    return situation.stay(waiting) if waiting else None


def _enter_step(situation: Situation, step: int, reason: str) -> Plan:
    share = situation.request.steps[step]
    if share == ALL_TRAFFIC:
        return situation.move(Phase.BAKING, situation.bake_share, reason, step=step)
    return situation.move(Phase.STEP, share, reason, step=step)


def _promote(situation: Situation, reason: str) -> Plan:
    request = situation.request
    term = ChampionTerm(
        release=request.release,
        by=request.by,
        at=situation.now,
        number=request.number,
        image=request.image,
        ledger_head=request.ledger_head,
    )
    # A release that becomes champion again gets a new term. If its earlier term stayed, it would be its own N-1.
    history = (*(one for one in situation.journal.history if one.release != term.release), term)
    promoted = situation.move(Phase.PROMOTED, ALL_TRAFFIC, reason)
    return dataclasses.replace(promoted, history=history, ends=True, completes_command=True)


_ADVANCE: Mapping[Phase, Callable[[Situation], Plan]] = {
    Phase.AWAITING_READY: _await_ready,
    Phase.AWAITING_APPROVAL: _await_approval,
    Phase.SHADOW: _leave_shadow,
    Phase.STEP: _leave_step,
    Phase.BAKING: _bake,
}
