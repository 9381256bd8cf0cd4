"""What a chaos run must not show. Pure functions of what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from load import short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos_faults import Fault
    from chaos_stories import ToldStory
    from load import Answer

    from sluice.rollout.decisions.states import Transition

MAX_LOST_SHARE = 0.001
"""Requests that stable could have answered and that failed, as a share of all."""

QUIET_SECONDS = 2.0
"""Limit for a rollback, from the decision until the routes are confirmed, if no fault is in its way."""

AFTER_FAULT_SECONDS = 15.0
"""Limit for the same, counted from the end of the last fault that was in its way: controllers start, and one takes the lease."""

LEASE_SECONDS = 5.0
"""How long a fault that is over may still be in the way, because another controller has to take over first."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A rollback that moved traffic.

    Attributes:
        transition: The transition.
        seconds: From the decision until the routes were confirmed.
        fault_seconds: From the end of the last fault that was in its way, 0 if that lasted longer; None if none was.
    """

    transition: Transition
    seconds: float
    fault_seconds: float | None


def find_lost(answers: Sequence[Answer], told: Sequence[ToldStory]) -> list[Answer]:
    """Return the requests that failed, except those that a canary with a fault answered itself."""
    faulty = {short(one.release) for one in told if one.story.fault}
    return [one for one in answers if one.failed and one.by not in faulty]


def find_wrong_ends(told: Sequence[ToldStory]) -> list[str]:
    """Return the stories that ended as they must not."""
    return [
        f"{one.story.name} ({one.release[:19]}) ended as {one.outcome!r}" for one in told if one.outcome not in one.story.ends
    ]


def find_unjustified(told: Sequence[ToldStory], answers: Sequence[Answer]) -> list[str]:
    """Return the releases that took traffic without approval, gate or provenance, and the advances without evidence."""
    served = {one.by for one in answers}
    wrong = [
        f"{one.story.name} ({one.release[:19]}) answered requests"
        for one in told
        if not one.story.may_take_traffic and short(one.release) in served
    ]
    for one in told:
        wrong += [f"{one.story.name} ({one.release[:19]}): {fault}" for fault in _find_missing_evidence(one)]
    return wrong


def _find_missing_evidence(told: ToldStory) -> list[str]:
    found = []
    for one in told.transitions:
        rises = one.to_state in {"step-2", "baking", "promoted"} and one.from_state in {"step-1", "step-2", "baking"}
        if not rises or one.commanded_by or "promoted by" in one.reason:
            continue
        if not (one.evidence.get("looked", 0) >= 60 and one.evidence.get("upper_bound", 1.0) <= 0.1):
            found.append(f"{one.from_state} → {one.to_state} without evidence: {dict(one.evidence)}")
    return found


def list_rollbacks(told: Sequence[ToldStory], overlaps: Callable[[float, float], Sequence[Fault]]) -> list[Rollback]:
    """Return the rollbacks that moved traffic, and how long each took.

    Args:
        told: The stories.
        overlaps: Returns the faults that were active at some moment between two times.
    """
    found = []
    for one in told:
        for transition in one.transitions:
            moved = transition.to_state in {"rolled_back", "aborted"} and transition.from_state not in {
                "awaiting_ready",
                "awaiting_approval",
                "shadow",
            }
            if not moved or transition.applied_at is None:
                continue
            faults = overlaps(transition.decided_at - LEASE_SECONDS, transition.applied_at)
            last = max((fault.end for fault in faults), default=None)
            seconds = transition.applied_at - transition.decided_at
            after = None if last is None else max(0.0, transition.applied_at - max(last, transition.decided_at))
            found.append(Rollback(transition, seconds, after))
    return found


def find_late(rollbacks: Sequence[Rollback]) -> list[str]:
    """Return the rollbacks that took too long."""
    late = []
    for one in rollbacks:
        limit, seconds = (QUIET_SECONDS, one.seconds) if one.fault_seconds is None else (AFTER_FAULT_SECONDS, one.fault_seconds)
        if seconds > limit:
            late.append(f"{one.transition.release[:19]}: {seconds:.1f} s (limit {limit:g} s): {one.transition.reason}")
    return late
