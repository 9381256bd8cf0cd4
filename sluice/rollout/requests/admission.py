"""What must hold before anybody's wish enters the journal; each refusal says what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import NotServingError, RefusedError, StateError
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.decisions.states import Phase
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Approval, CommandKind, EndedRollout, Journal
    from sluice.rollout.journals import JournalStore


def check_gate(project: Project, digest: str) -> None:
    """Whether the gate has promoted this release; what it never saw takes no production traffic, whoever asks.

    In a cluster the store may be elsewhere: a release whose rollout was requested passed this before.

    Raises:
        RefusedError: It was never asked, or said no.
        StateError: There is no such release.
    """
    try:
        release = ReleaseStore(project.state / "releases").get(digest)
    except StateError:
        if project.settings.rollout.in_cluster and open_journal(project).read().target == digest:
            return
        raise
    gate = release.manifest.get("gate")
    if not gate:
        raise RefusedError(
            f"release {release.number} was packaged without asking the gate, so it never takes production traffic",
            hint="`sluice run` makes a release that the gate has judged.",
        )
    if gate.get("promote") is not True:
        raise RefusedError(
            f"the gate did not promote release {release.number}, so it never takes production traffic",
            hint=f"`sluice release show {release.number}` shows the gate's decision.",
        )


def check_supervised(file: JournalStore) -> None:
    """Whether anybody is there to make a wish come true.

    Raises:
        NotServingError: No supervisor is running.
    """
    if not file.is_supervised():
        raise NotServingError(
            "nobody is there to move traffic: no supervisor, and no controller, is running",
            hint="Start `sluice serve`; in a cluster, `sluice rollout controller`.",
        )


def check_free(journal: Journal, digest: str) -> None:
    """Whether no other release's rollout is running.

    Raises:
        StateError: One is.
    """
    if journal.request is not None and journal.request.release != digest:
        raise StateError(
            f"a rollout of {journal.request.release[:19]} is running ({journal.state.name})",
            hint="Wait for its end, or end it with `sluice rollout abort`.",
        )


def check_running(journal: Journal) -> str:
    """The release whose rollout is running.

    Raises:
        StateError: None is.
    """
    if journal.request is None:
        raise StateError("no rollout is running", hint="To leave the champion use `sluice rollout rollback`.")
    return journal.request.release


def check_promotable(journal: Journal, digest: str, approval: Approval | None) -> None:
    """Whether a release may be taken to 100 % on a person's word.

    Raises:
        StateError: It is not at a step, or its approval has expired.
    """
    if journal.target != digest or not journal.state.phase.exposed:
        raise StateError(
            f"{digest[:19]} takes no canary traffic, so it cannot be promoted",
            hint="`sluice rollout status` says where it stands; an approval lets it begin.",
        )
    if approval is None:
        raise StateError(f"the approval of {digest[:19]} has expired", hint="Approve it again, then promote.")


def check_replaces(journal: Journal, kind: CommandKind) -> None:
    """Whether a command may take the place of the one that waits: a way down is not taken back by a way up.

    Raises:
        StateError: It may not.
    """
    waiting = journal.command
    if waiting is not None and kind.precedence < waiting.kind.precedence:
        raise StateError(
            f"a {waiting.kind.value} by {waiting.by} is under way", hint="`sluice rollout status` says when it is done."
        )


def check_rollback_target(journal: Journal, told: str) -> str:
    """The release that a rollback sends all traffic to, which is the one that the person was told, or has it all already.

    Raises:
        StateError: It is another one by now, or there is none.
    """
    if told and told == journal.champion:
        return told
    found = find_rollback_target(journal)
    if told and found != told:
        raise StateError(
            f"production has changed meanwhile: a rollback would go to {found[:19]} now, not to {told[:19]}",
            hint="Look at `sluice rollout status`, and decide again.",
        )
    return found


def find_rollback_target(journal: Journal) -> str:
    """The release that a rollback sends all traffic to: stable while a canary takes traffic, else N-1.

    Raises:
        StateError: There is none.
    """
    if journal.state.phase.exposed and journal.champion:
        return journal.champion
    if journal.previous is not None:
        return journal.previous
    if journal.champion is None:
        raise StateError("nothing to roll back to: there is no champion", hint="`sluice release list` shows the releases.")
    left = _rolled_back_last(journal)
    why = f"{left.release[:19]} was rolled back before, and nothing" if left else "nothing"
    raise StateError(
        f"nothing to roll back to: there is no N-1; {why} was champion before {journal.champion[:19]}",
        hint="`sluice release list` shows the releases; `sluice rollout start` takes one up again.",
    )


def _rolled_back_last(journal: Journal) -> EndedRollout | None:
    """The champion that a person rolled back last."""
    return next(
        (one for one in reversed(journal.rollouts) if one.outcome is Phase.ROLLED_BACK and one.stable == journal.champion), None
    )
