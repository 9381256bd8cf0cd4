"""A plan, and the journal after a request and after a plan. The functions are pure: the caller writes what they return."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.rollout.decisions.states import (
    KEPT_APPROVALS,
    KEPT_CONDEMNED,
    KEPT_FAILURES,
    KEPT_RELEASES,
    KEPT_TRANSITIONS,
    CommandKind,
    Condemnation,
    EndedRollout,
    Journal,
    Phase,
    Request,
    State,
    Transition,
)
from sluice.rollout.failures import MAX_TEXT_LENGTH, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sluice.rollout.decisions.states import ChampionTerm
    from sluice.rollout.failures import FailureSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next decision.

    Attributes:
        state: The state to be in.
        weights: Desired per cent by release; empty before the first release, otherwise they sum to 100.
        reason: Why, in one sentence.
        decided_at: When it was decided; for a command, when the command was given.
        history: The terms of the champions, oldest first.
        changes: Whether anything must be written. False means that the rollout stays as it is.
        ends: Whether the rollout, or the champion's term, ends.
        completes_command: Whether the waiting command is done.
        commanded_by: The person whose command it carries out; empty if the evidence or the plan itself decided.
        condemns: Whether the canary has failed, so that its release is not rolled out again without a reason.
        partial: Whether it moves a part of the traffic that a person ordered to move. The rest waits for Pods.
    """

    state: State
    weights: Mapping[str, int]
    reason: str
    decided_at: float
    history: tuple[ChampionTerm, ...]
    changes: bool = True
    ends: bool = False
    completes_command: bool = False
    commanded_by: str = ""
    condemns: bool = False
    partial: bool = False


def begin(journal: Journal, request: Request) -> Journal:
    """Return the journal with a new request. No other rollout may be running. A rollback that still waits keeps waiting."""
    waits = journal.command is not None and journal.command.kind is CommandKind.ROLLBACK
    transition = Transition(
        time=request.at,
        from_state=journal.state.name,
        to_state=Phase.AWAITING_READY.value,
        reason=f"requested by {request.by}" + (f" again, although it is condemned: {request.again}" if request.again else ""),
        rollout=request.id,
        release=request.release,
        weights=dict(journal.weights),
        decided_at=request.at,
        applied_at=request.at,
    )
    return dataclasses.replace(
        journal,
        request=request,
        last_request_id=request.id,
        command=journal.command if waits else None,
        done_promotions=(),
        state=State(phase=Phase.AWAITING_READY, since=request.at),
        transitions=(*journal.transitions, transition)[-KEPT_TRANSITIONS:],
    )


def advance(journal: Journal, plan: Plan, *, evidence: Mapping[str, Any], now: float) -> Journal:
    """Return the journal after a plan. Its last transition is not applied yet. The writer sets the version."""
    release = journal.target or journal.champion or ""
    rollout = journal.request.id if journal.request else f"command-{journal.command.at:.6f}" if journal.command else ""
    transition = Transition(
        time=now,
        from_state=journal.state.name,
        to_state=plan.state.name,
        reason=plan.reason,
        rollout=rollout,
        release=release,
        weights=dict(plan.weights),
        evidence=dict(evidence),
        decided_at=plan.decided_at,
        commanded_by=plan.commanded_by,
        command_id=journal.command.id if journal.command and plan.commanded_by else "",
    )
    after = dataclasses.replace(
        journal,
        state=plan.state,
        weights=dict(plan.weights),
        history=plan.history[-KEPT_RELEASES:],
        command=None if plan.completes_command else journal.command,
        last_command_at=journal.command.at if plan.completes_command and journal.command else journal.last_command_at,
        done_promotions=(*journal.done_promotions, *_list_done_promotions(journal, plan)),
        transitions=(*journal.transitions, transition)[-KEPT_TRANSITIONS:],
    )
    if not plan.ends:
        return after
    request = journal.request
    ended = EndedRollout(
        id=rollout,
        release=release,
        stable=journal.champion if request else journal.previous,
        outcome=plan.state.phase,
        reason=plan.reason,
        by=request.by if request else journal.command.by if journal.command else "",
        started=request.at if request else plan.decided_at,
        ended=now,
        number=request.number if request else next((one.number for one in journal.history if one.release == release), 0),
    )
    return dataclasses.replace(
        after,
        condemned=_update_condemned(journal, plan, release, now),
        request=None,
        rollouts=(*journal.rollouts, ended)[-KEPT_RELEASES:],
        approvals=tuple(approval for approval in journal.approvals if approval.release != release),
        used_approvals=(*journal.used_approvals, *_list_used(journal, release))[-KEPT_APPROVALS:],
    )


def _list_done_promotions(journal: Journal, plan: Plan) -> list[str]:
    command = journal.command
    if command is None or command.kind is not CommandKind.PROMOTE or not plan.completes_command:
        return []
    return [command.id]


def _list_used(journal: Journal, release: str) -> list[str]:
    """Return the ids of the approvals of a release, which the end of its rollout uses up."""
    return [one.id for one in journal.approvals if one.release == release and one.id]


def _update_condemned(journal: Journal, plan: Plan, release: str, now: float) -> tuple[Condemnation, ...]:
    """Return the condemned releases after the end of a rollout. A release that became champion is not condemned any more."""
    others = tuple(one for one in journal.condemned if one.release != release)
    if plan.condemns:
        return (*others, Condemnation(release=release, at=now, reason=shorten(plan.reason, MAX_TEXT_LENGTH)))[-KEPT_CONDEMNED:]
    return others if plan.state.phase is Phase.PROMOTED else journal.condemned


def add_failure(journal: Journal, rollout: str, failure: FailureSummary) -> Journal:
    """Return the journal with what failed in a rollout that has ended. Only the last few rollouts keep it."""
    if not any(one.id == rollout for one in journal.rollouts):
        return journal
    explained = [dataclasses.replace(one, failure=failure) if one.id == rollout else one for one in journal.rollouts]
    kept = {one.id for one in [one for one in explained if one.failure is not None][-KEPT_FAILURES:]}
    rollouts = tuple(one if one.id in kept else dataclasses.replace(one, failure=None) for one in explained)
    return dataclasses.replace(journal, rollouts=rollouts)


def mark_applied(journal: Journal, transition: Transition, applied_at: float) -> Journal:
    """Return the journal in which this transition, if it is still the last one, is marked as applied."""
    if not journal.transitions or journal.transitions[-1] != transition:
        return journal
    applied = dataclasses.replace(transition, applied_at=applied_at)
    return dataclasses.replace(journal, transitions=(*journal.transitions[:-1], applied))
