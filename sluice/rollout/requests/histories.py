"""What happened: the transitions, and one rollout with the samples and numbers that a report shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sluice.errors import StateError
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import EndedRollout, Journal, Transition
    from sluice.rollout.journals import JournalStore

MARGIN_SECONDS = 5.0
"""A rollout is shown with the samples of this many seconds before and after it."""


def describe_rollout(
    journal_store: JournalStore, journal: Journal, ended: EndedRollout | None, settings: RolloutTable
) -> dict[str, Any]:
    """Return one rollout as plain JSON types.

    Args:
        journal_store: Stores the samples.
        journal: The journal.
        ended: The rollout, if it has ended. None stands for the running one.
        settings: ``[rollout]``.
    """
    request = journal.request
    rollout = ended.id if ended else request.id if request else ""
    started = ended.started if ended else request.at if request else 0.0
    transitions = [transition for transition in journal.transitions if transition.rollout == rollout]
    end = ended.ended if ended else max((transition.time for transition in transitions), default=started)
    return {
        "outcome": ended.outcome.value if ended else journal.state.name,
        "reason": ended.reason if ended else transitions[-1].reason if transitions else "",
        "target": ended.release if ended else journal.target,
        "stable": ended.stable if ended else journal.champion,
        "by": ended.by if ended else request.by if request else "",
        "started": started,
        "ended": ended.ended if ended else None,
        "steps": list(request.steps) if request and not ended else list(settings.steps),
        "transitions": [transition.to_dict() for transition in transitions],
        "samples": journal_store.read_samples(started - MARGIN_SECONDS, end + MARGIN_SECONDS),
        "numbers": compute_numbers(transitions, settings),
        "failure": describe_failure(ended) if ended else None,
        "condemned": describe_end(journal, ended) if ended else "",
    }


def describe_period(
    journal_store: JournalStore, journal: Journal, since: float, until: float, settings: RolloutTable
) -> dict[str, Any]:
    """Return everything between two times as if it were one rollout. Its target is the release of the last transition."""
    transitions = [transition for transition in journal.transitions if since <= transition.time <= until]
    last = transitions[-1] if transitions else None
    ended = next((one for one in reversed(journal.rollouts) if last and one.id == last.rollout), None)
    return {
        "outcome": last.to_state if last else "",
        "reason": last.reason if last else "",
        "target": last.release if last else None,
        "stable": ended.stable if ended else journal.champion,
        "by": ended.by if ended else "",
        "started": since,
        "ended": until,
        "steps": list(settings.steps),
        "transitions": [transition.to_dict() for transition in transitions],
        "samples": journal_store.read_samples(since, until),
        "numbers": compute_numbers(transitions, settings),
        "failure": describe_failure(ended) if ended else None,
        "condemned": describe_end(journal, ended) if ended else "",
    }


def describe_end(journal: Journal, ended: EndedRollout) -> str:
    """Say that the release was condemned at the end of this rollout; empty if it was not."""
    found = journal.find_condemnation(ended.release)
    if found is None or found.at != ended.ended:
        return ""
    return f"release {ended.release[:19]} is condemned: it is rolled out again only if a person says why (--again)"


def describe_failure(ended: EndedRollout) -> dict[str, Any] | None:
    """Return what failed in a rollout as plain JSON types, with the lines that people read; None if that is not known."""
    if ended.failure is None:
        return None
    return dataclasses.asdict(ended.failure) | {"lines": ended.failure.list_lines()}


def compute_numbers(transitions: Sequence[Transition], settings: RolloutTable) -> dict[str, Any]:
    """Compute the numbers of a rollout from its transitions.

    Returns:
        ``evidence_threshold`` and ``margin``; the evidence of the last transition; ``exposed_seconds``, the time with canary
        traffic. If the release lost all its traffic, also ``decided_at``, ``applied_at`` and ``decision_to_zero_seconds``: the
        time from the decision until the proxy reported that the release gets no traffic.
    """
    numbers: dict[str, Any] = {"evidence_threshold": settings.evidence, "margin": settings.margin}
    exposed = [transition for transition in transitions if transition.weights.get(transition.release)]
    if not transitions:
        return numbers
    last = transitions[-1]
    numbers |= last.evidence
    if exposed:
        numbers["exposed_seconds"] = round((last.applied_at or last.time) - (exposed[0].applied_at or exposed[0].time), 3)
    if last.release and last.weights.get(last.release) == 0 and sum(last.weights.values()) == ALL_TRAFFIC:
        numbers |= {"decided_at": last.decided_at, "applied_at": last.applied_at}
        if last.applied_at is not None:
            numbers["decision_to_zero_seconds"] = round(last.applied_at - last.decided_at, 3)
    return numbers


def read_transitions(project: Project) -> list[dict[str, Any]]:
    """Return the last 200 transitions as plain JSON types, oldest first. The end of a rollout has what failed, if it is known."""
    journal = open_journal(project).read()
    failures = {(one.id, one.outcome.value): describe_failure(one) for one in journal.rollouts}
    return [
        transition.to_dict() | {"failure": failures.get((transition.rollout, transition.to_state))}
        for transition in journal.transitions
    ]


def read_rollout(project: Project, digest: str) -> dict[str, Any]:
    """Return the latest rollout of a release: outcome, reason, transitions, samples and numbers.

    Raises:
        StateError: There was no rollout of this release.
    """
    journal_store = open_journal(project)
    journal = journal_store.read()
    ended = find_last_rollout(journal, digest)
    if journal.target != digest and ended is None:
        raise StateError(f"{digest[:19]} was never rolled out", hint="`sluice rollout start` requests a rollout.")
    return describe_rollout(journal_store, journal, ended if journal.target != digest else None, project.settings.rollout)


def read_period(project: Project, since: float, until: float) -> dict[str, Any]:
    """Return what happened to production traffic between two times (seconds since the epoch), in the form of `read_rollout`."""
    journal_store = open_journal(project)
    return describe_period(journal_store, journal_store.read(), since, until, project.settings.rollout)


def find_last_rollout(journal: Journal, digest: str) -> EndedRollout | None:
    """Return the last rollout of a release that has ended, or None."""
    return next((ended for ended in reversed(journal.rollouts) if ended.release == digest), None)
