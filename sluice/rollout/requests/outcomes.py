"""Waiting: for the outcome of a rollout, and for a proxy that serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError, RolledBackError, ServiceError, StateError
from sluice.rollout.decisions.states import Phase
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import check_supervised
from sluice.rollout.requests.histories import find_last_rollout
from sluice.rollout.requests.statuses import read_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal

POLL_SECONDS = 0.05

DEADLINE_MARGIN_SECONDS = 15.0
"""Time added to a rollout's own deadline, because the supervisor ends a rollout at the deadline and not before."""

APPLY_SECONDS = 5.0
"""How long to wait, after a rollout has ended, until the proxy is seen to apply the last weights."""

EXPLANATION_SECONDS = 6.0
"""How long to wait, after a canary has failed, until the journal says what failed."""


def wait_for_outcome(project: Project, digest: str, timeout: float) -> str:
    """Wait until the rollout of a release ends.

    Args:
        project: The project.
        digest: The release.
        timeout: Seconds; `DEADLINE_MARGIN_SECONDS` are added, because the supervisor ends a rollout at its deadline and not
            before.

    Returns:
        ``"promoted"``, ``"rolled_back"``, ``"aborted"`` or ``"rejected"`` (the canary never took traffic).

    Raises:
        StateError: No rollout of this release was requested.
        NotServingError: No supervisor or controller is running, and none came back.
        ServiceError: The rollout did not end in time.
    """
    journal_store = open_journal(project)
    deadline = time.monotonic() + timeout + DEADLINE_MARGIN_SECONDS
    supervised_at = running_at = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            journal, supervised = journal_store.read(), journal_store.is_supervised()
        except ServiceError:
            if now - supervised_at > journal_store.absence_seconds:
                raise
            time.sleep(journal_store.poll_seconds)
            continue
        if journal.target != digest:
            # The proxy follows a moment after the decision. Wait for it, so that the caller finds the time in the journal.
            last = journal.transitions[-1] if journal.transitions else None
            if last is None or last.applied_at is not None or now > running_at + APPLY_SECONDS:
                return _read_outcome(journal, digest)
            time.sleep(journal_store.poll_seconds)
            continue
        running_at = now
        supervised_at = now if supervised else supervised_at
        if now - supervised_at > journal_store.absence_seconds:
            check_supervised(journal_store)
        if now > deadline:
            raise ServiceError(
                f"the rollout of {digest[:19]} did not end within {timeout:g} s: it is in state {journal.state.name}",
                hint="`sluice rollout status` shows what it waits for.",
            )
        time.sleep(journal_store.poll_seconds)


def check_promoted(outcome: str, evidence: Mapping[str, Any], number: int | str) -> None:
    """Check that a rollout that has ended made its release champion.

    Args:
        outcome: What `wait_for_outcome` returned.
        evidence: The rollout's record, from `sluice.rollout.requests.histories.read_rollout`.
        number: The release's number, for the message.

    Raises:
        RolledBackError: It did not. The message says why, and what failed.
    """
    if outcome == Phase.PROMOTED.value:
        return
    failed = (evidence.get("failure") or {}).get("lines", [])[:1]
    raise RolledBackError(
        "; what failed: ".join([f"release {number} was {outcome.replace('_', ' ')}: {evidence['reason']}", *failed]),
        hint=f"{describe_rest(evidence.get('stable'))} `sluice rollout history` shows the decisions, and what failed.",
    )


def describe_rest(stable: str | None) -> str:
    """Say who has the traffic when a rollout has ended without a promotion.

    Args:
        stable: The release that had all the traffic before the rollout; None or empty for the rollout of a first release.
    """
    return "The stable release has all traffic." if stable else "No release takes traffic, because there is no champion yet."


def wait_for_explanation(project: Project, digest: str) -> None:
    """Wait until the journal says what failed in the last rollout of a release, if its canary failed; not for long."""
    journal_store = open_journal(project)
    deadline = time.monotonic() + EXPLANATION_SECONDS
    while time.monotonic() < deadline:
        journal = journal_store.read()
        ended = find_last_rollout(journal, digest)
        if ended is None or ended.failure is not None or journal.find_condemnation(digest) is None:
            return
        time.sleep(journal_store.poll_seconds)


def wait_until_serving(project: Project, timeout: float) -> str:
    """Wait until a supervisor's proxy serves.

    Returns:
        The URL of the proxy.

    Raises:
        NotServingError: No proxy served within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (url := read_status(project).url):
        if time.monotonic() > deadline:
            raise NotServingError(f"the proxy did not serve within {timeout:g} s", hint="`sluice serve` starts the supervisor.")
        time.sleep(POLL_SECONDS)
    return url


def _read_outcome(journal: Journal, digest: str) -> str:
    if digest == journal.champion:
        return Phase.PROMOTED.value
    ended = find_last_rollout(journal, digest)
    if ended is None:
        raise StateError(f"no rollout of {digest[:19]} was requested", hint="`sluice rollout start` requests a rollout.")
    return ended.outcome.value
