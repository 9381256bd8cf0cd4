"""Commands during a rollout: promote, abort and roll back."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError, StateError, UsageError
from sluice.rollout.decisions.states import Command, CommandKind, Journal
from sluice.rollout.failures import MAX_TEXT_LENGTH, shorten
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import (
    check_promotable,
    check_replaces,
    check_rollback_target,
    check_running,
    check_supervised,
    find_rollback_target,
)
from sluice.rollout.requests.approvals import find_valid_approval
from sluice.rollout.requests.statuses import read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.project.projects import Project
    from sluice.rollout.journals import JournalStore


def check_promote(project: Project, digest: str) -> None:
    """Check whether `promote` would accept this release now.

    Raises:
        StateError: The release is not at a step, or has no valid approval.
        NotServingError: No supervisor or controller is running.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    _check_promotable(project, journal_store, journal_store.read(), digest)


def promote(project: Project, digest: str, by: str, why: str) -> None:
    """Take the running canary to the bake without waiting for the evidence.

    The bake time and the approval still apply, and the canary can still be rolled back. In a cluster, the account of this process
    must be one that may approve.

    Args:
        project: The project.
        digest: The release.
        by: The person who orders it.
        why: Why it does not wait for the evidence, in the person's own words.

    Raises:
        UsageError: `why` is empty.
        RefusedError: The account made the request itself.
        StateError: The release is not at a step, or has no valid approval.
        NotServingError: No supervisor or controller is running.
    """
    if not why.strip():
        raise UsageError("a promotion without evidence needs a reason", hint="Say why with --why.")
    check_promote(project, digest)
    journal_store = open_journal(project)
    command = _build_command(journal_store, CommandKind.PROMOTE, by, reason=shorten(why, MAX_TEXT_LENGTH))

    def add_command(journal: Journal) -> Journal:
        _check_promotable(project, journal_store, journal, digest)
        check_replaces(journal, CommandKind.PROMOTE)
        return dataclasses.replace(journal, command=command)

    journal_store.update(add_command)


def check_abort(project: Project) -> str:
    """Return the release whose rollout `abort` would end.

    Raises:
        StateError: No rollout is running.
        NotServingError: No supervisor or controller is running.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    return check_running(journal_store.read())


def abort(project: Project, by: str) -> str:
    """End the running rollout and send all traffic to stable.

    Returns:
        The release whose rollout ends.

    Raises:
        StateError: No rollout is running.
        NotServingError: No supervisor or controller is running.
    """
    release = check_abort(project)
    journal_store = open_journal(project)
    command = _build_command(journal_store, CommandKind.ABORT, by)

    def add_command(journal: Journal) -> Journal:
        check_running(journal)
        check_replaces(journal, CommandKind.ABORT)
        return dataclasses.replace(journal, command=command)

    journal_store.update(add_command)
    return release


def check_rollback(project: Project) -> tuple[str, str]:
    """Return the release that a rollback would send all traffic to, and the release that it would leave.

    It sends all traffic to stable if a canary takes traffic, otherwise to N-1.

    Raises:
        StateError: There is no such release.
        NotServingError: No supervisor or controller is running.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    journal = journal_store.read()
    target = find_rollback_target(journal)
    return target, (journal.champion if target != journal.champion else journal.target) or ""


def rollback(project: Project, by: str, *, to: str = "", notify: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """Send all production traffic to stable (or to N-1 if no canary takes traffic), and wait until the proxy applies that.

    Args:
        project: The project.
        by: The person who orders the rollback.
        to: The release that `check_rollback` named and that the person confirmed; empty for the release that fits now. If this
            release has all traffic already, because its canary was rolled back in the meantime, nothing moves.
        notify: Called with one line of text whenever a part of the traffic has moved and the rest waits for Pods.

    Returns:
        ``to`` and ``left`` (digests), ``by`` (who is recorded), ``decided_at``, ``applied_at`` (when the proxy reported that it
        sends nothing elsewhere) and ``seconds`` between the two.

    Raises:
        StateError: There is no release to go back to, it is another release by now, or its server does not become ready.
        NotServingError: No supervisor or controller is running.
        ServiceError: The proxy did not follow in time. The command stays in the journal.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    command, target = _build_command(journal_store, CommandKind.ROLLBACK, by), ""

    def add_command(journal: Journal) -> Journal:
        nonlocal command, target
        target = check_rollback_target(journal, target or to)
        waiting = journal.command
        if waiting is not None and waiting.kind is CommandKind.ROLLBACK and waiting.target == target:
            command = waiting  # another person ordered the same rollback a moment ago, so this call waits for that one
            return journal
        return dataclasses.replace(journal, command=dataclasses.replace(command, target=target))

    journal_store.update(add_command)
    timeout = project.settings.serving.start_timeout_seconds
    if project.settings.rollout.in_cluster:
        timeout += project.settings.rollout.pods_wait_seconds
    applied = _await_rollback(journal_store, command.id, target, timeout, notify)
    if applied is not None:
        return {"by": command.by, **applied}
    raise ServiceError(
        f"the rollback to {target[:19]} was not applied within {timeout:g} s: {read_status(project).reason}",
        hint="The supervisor or controller continues with it. `sluice rollout status` shows when it is done.",
    )


def _build_command(journal_store: JournalStore, kind: CommandKind, by: str, reason: str = "") -> Command:
    account = journal_store.identify(by)
    return Command(kind=kind, by=account, at=journal_store.clock.now(), id=uuid.uuid4().hex, reason=reason)


def _await_rollback(
    journal_store: JournalStore, command: str, target: str, timeout: float, notify: Callable[[str], object]
) -> dict[str, Any] | None:
    """Wait until the command with this id is applied; return what `rollback` returns without ``by``, or None on time-out."""
    deadline, told = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        journal = journal_store.read()
        is_done = journal.command is None or journal.command.id != command
        made = (one for one in reversed(journal.transitions) if one.command_id == command)
        last = next(made, None)
        transition = last if is_done else None
        if last is not None and not is_done and last.reason != told:
            told = last.reason
            notify(told)
        if transition is not None and transition.weights.get(target) != sum(transition.weights.values()):
            raise StateError(transition.reason, hint="`sluice rollout status` shows the state of N-1.")
        if transition is not None and transition.applied_at:
            return {
                "to": target,
                "left": transition.release if transition.release != target else "",
                "decided_at": transition.decided_at,
                "applied_at": transition.applied_at,
                "seconds": round(transition.applied_at - transition.decided_at, 3),
            }
        time.sleep(journal_store.poll_seconds)
    return None


def _check_promotable(project: Project, journal_store: JournalStore, journal: Journal, digest: str) -> None:
    check_promotable(journal, digest, find_valid_approval(project, journal, digest, journal_store.clock.now()))
