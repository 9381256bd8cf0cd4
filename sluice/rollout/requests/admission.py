"""The rules that a request, an approval or a command must meet. Each refusal says what to do instead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError, RefusedError, StateError
from sluice.release.gate_statements import is_overridden
from sluice.release.project_releases import open_releases
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.condemnations import find_condemnation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Approval, EndedRollout, Journal
    from sluice.rollout.journals import JournalStore


def check_gate(project: Project, digest: str) -> None:
    """Check that the gate has promoted a release, or that a person's override of the gate is valid.

    No other release takes production traffic.

    In a cluster, the release store may be on another machine. A release whose rollout is running has passed this check already.

    Raises:
        RefusedError: The gate did not promote the release, or was never asked.
        StateError: There is no such release.
    """
    try:
        release = open_releases(project).get(digest)
    except StateError:
        if project.settings.rollout.in_cluster and open_journal(project).read().target == digest:
            return
        raise
    gate = release.manifest.get("gate")
    if not gate:
        raise RefusedError(
            f"release {release.number} was packaged without asking the gate, so it never takes production traffic",
            hint="`sluice run` makes a release and asks the gate about it.",
        )
    if gate.get("promote") is True or is_overridden(release.manifest, time.time()):
        return
    override = gate.get("override")
    expired = f", and the override by {override['by']} has expired or is about another model" if override else ""
    raise RefusedError(
        f"the gate did not promote release {release.number}{expired}, so it never takes production traffic",
        hint=f"`sluice release show {release.number}` shows the gate's decision.",
    )


def describe_override(manifest: Mapping[str, Any]) -> str:
    """Say what the gate answered and who let the model pass nevertheless; empty if nobody overrode the gate."""
    gate = manifest.get("gate") or {}
    override = gate.get("override")
    if not override:
        return ""
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(override["until"]))
    answer = (gate.get("verdict") or {}).get("detail") or "the gate did not promote this model"
    return f"{answer}; {override['by']} let the model pass the gate until {until}: {override['why']}"


def read_override(project: Project, digest: str) -> str:
    """Return what `describe_override` says of a release in the store; empty if the store does not have it."""
    return describe_override(_read_manifest(project, digest))


def read_ledger_head(project: Project, digest: str) -> str:
    """Return the link in the gate's ledger by which a release was promoted; empty if its manifest names none."""
    return str((_read_manifest(project, digest).get("gate") or {}).get("ledger_head") or "")


def _read_manifest(project: Project, digest: str) -> Mapping[str, Any]:
    try:
        return open_releases(project).get(digest).manifest
    except StateError:
        return {}  # in a cluster, the release store may be on another machine


def check_supervised(journal_store: JournalStore) -> None:
    """Check that a supervisor or a controller acts on the journal.

    Raises:
        NotServingError: None is running.
    """
    if not journal_store.is_supervised():
        raise NotServingError(
            "no supervisor or controller is running, so no traffic can move",
            hint="Start `sluice serve`; in a cluster, `sluice rollout controller`.",
        )


def check_free(journal: Journal, digest: str) -> None:
    """Check that no rollout of another release is running, and that no rollback waits, which a rollout would cancel.

    Raises:
        StateError: Another rollout is running, or a rollback waits.
    """
    command = journal.command
    if journal.request is None and command is not None and command.kind is CommandKind.ROLLBACK:
        raise StateError(
            f"a rollback by {command.by} waits, and a rollout that begins now would cancel it",
            hint="Start the rollout when the rollback is done. `sluice rollout status` shows what it waits for.",
        )
    if journal.request is not None and journal.request.release != digest:
        raise StateError(
            f"a rollout of {journal.request.release[:19]} is running ({journal.state.name})",
            hint="Wait until it ends, or end it with `sluice rollout abort`.",
        )


def check_not_condemned(project: Project, journal: Journal, digest: str, again: str = "") -> None:
    """Check that a release is not condemned, or that a person says why it is rolled out again.

    A release whose rollout is running has passed this check already.

    Args:
        project: The project.
        journal: The present state of the rollout.
        digest: The release.
        again: Why it is rolled out again; empty if nobody says so.

    Raises:
        RefusedError: The canary of this release failed before, and `again` is empty.
    """
    if again.strip() or journal.target == digest or (found := find_condemnation(project, journal, digest)) is None:
        return
    failed_at = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.at))
    which = "its canary" if found.release == digest else f"release {found.release[:19]} is the same model, and its canary"
    raise RefusedError(
        f"release {digest[:19]} is condemned, because {which} failed at {failed_at}: {found.reason}",
        hint="Fix the cause and make a new release. If the cause was elsewhere, use "
        f"`sluice rollout start {digest[:19]} --again WHY`.",
    )


def check_running(journal: Journal) -> str:
    """Return the release whose rollout is running.

    Raises:
        StateError: No rollout is running.
    """
    if journal.request is None:
        raise StateError("no rollout is running", hint="To replace the champion by N-1, use `sluice rollout rollback`.")
    return journal.request.release


def check_promotable(journal: Journal, digest: str, approval: Approval | None) -> None:
    """Check that a person may promote this release now.

    Raises:
        StateError: The release is not at a step, or its approval has expired.
    """
    if journal.target != digest or not journal.state.phase.exposed:
        raise StateError(
            f"{digest[:19]} takes no canary traffic, so it cannot be promoted",
            hint="`sluice rollout status` shows its state. A canary takes traffic after its approval.",
        )
    if approval is None:
        raise StateError(
            f"the approval of {digest[:19]} has expired", hint="Approve it again with `sluice rollout approve`, then promote it."
        )


def check_replaces(journal: Journal, kind: CommandKind) -> None:
    """Check that a command may replace the one that waits. A command never replaces one of higher precedence.

    Raises:
        StateError: The waiting command takes precedence.
    """
    waiting = journal.command
    if waiting is not None and kind.precedence < waiting.kind.precedence:
        raise StateError(
            f"a {waiting.kind.value} by {waiting.by} is under way", hint="`sluice rollout status` shows when it is done."
        )


def check_rollback_target(journal: Journal, confirmed: str) -> str:
    """Return the release that a rollback sends all traffic to, which must be the one that the person confirmed.

    Args:
        journal: The present state of the rollout.
        confirmed: The release that the person confirmed; empty if the person named none. If it is the champion, the rollback is
            valid even if no canary takes traffic any more.

    Raises:
        StateError: The rollback would go to another release by now, or there is none.
    """
    if confirmed and confirmed == journal.champion:
        return confirmed
    found = find_rollback_target(journal)
    if confirmed and found != confirmed:
        raise StateError(
            f"production has changed: a rollback would send all traffic to {found[:19]} now, not to {confirmed[:19]}",
            hint="Look at `sluice rollout status`, and decide again.",
        )
    return found


def find_rollback_target(journal: Journal) -> str:
    """Return the release that a rollback sends all traffic to: stable while a canary takes traffic, otherwise N-1.

    Raises:
        StateError: There is no such release.
    """
    if journal.state.phase.exposed and journal.champion:
        return journal.champion
    if journal.previous is not None:
        return journal.previous
    if journal.champion is None:
        raise StateError(
            "there is no champion, so there is nothing to roll back", hint="`sluice release list` shows all releases."
        )
    rolled_back = _find_last_rolled_back(journal)
    earlier = f"; {rolled_back.release[:19]} was rolled back already" if rolled_back else ""
    raise StateError(
        f"there is no N-1 to roll back to, because no release was champion before {journal.champion[:19]}{earlier}",
        hint="`sluice release list` shows all releases. `sluice rollout start` requests a rollout of one of them.",
    )


def _find_last_rolled_back(journal: Journal) -> EndedRollout | None:
    """Return the last rollout that was rolled back to the present champion; None if there is none."""
    return next(
        (one for one in reversed(journal.rollouts) if one.outcome is Phase.ROLLED_BACK and one.stable == journal.champion), None
    )
