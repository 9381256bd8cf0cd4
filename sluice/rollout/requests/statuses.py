"""The status of a project's rollout: what the journal says, and what the running supervisor or controller reports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.histories import describe_failure
from sluice.rollout.settings_in_force import list_differences

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """Which release serves production, and what the rollout is doing. All values are plain JSON types.

    Attributes:
        url: URL of the proxy; empty if no supervisor is running.
        state: Name of the state, for example ``"step-2"``.
        champion: Digest of the champion.
        previous: Digest of N-1.
        target: Digest of the canary.
        weights: Desired per cent by release.
        seen_weights: Applied per cent above 0, by release.
        reason: What the rollout waits for, or why the last one ended.
        evidence: Counts and numbers of the running rollout.
        approvals: Approvals that are not used up.
        servers: The server of each release: pid, port, ready, crashes.
        pid: Process id of the supervisor.
        admin_socket: Unix socket of the proxy's admin interface. Only the user of the supervisor may open it.
        supervised: Whether a supervisor or a controller is running.
        trouble: The problem of the last round, which the next round tries to solve; empty if there is none.
        failure: What failed in the last rollout, if its canary failed and no other rollout is running.
        condemned: The releases whose canary failed, with the time and the reason.
        settings: The settings of ``[rollout]`` whose value in force is not the one in sluice.toml: ``name``, ``in_force``,
            ``file``, and ``restart``, whether the file's value needs a new start of `sluice serve`.
        server_event: What happened to a server last, for example that a server that hung was replaced: ``time`` and ``text``.
    """

    url: str
    state: str
    champion: str | None
    previous: str | None
    target: str | None
    weights: dict[str, int]
    seen_weights: dict[str, int]
    reason: str
    evidence: dict[str, Any] | None
    approvals: list[dict[str, Any]]
    servers: list[dict[str, Any]] = field(default_factory=list)
    supervised: bool = False
    pid: int | None = None
    admin_socket: str = ""
    trouble: str = ""
    failure: dict[str, Any] | None = None
    condemned: list[dict[str, Any]] = field(default_factory=list)
    settings: list[dict[str, Any]] = field(default_factory=list)
    server_event: dict[str, Any] | None = None


def read_status(project: Project) -> RolloutStatus:
    """Return the present status, whether or not a supervisor or controller is running.

    Raises:
        DataError: The journal cannot be read.
    """
    journal_store = open_journal(project)
    journal = journal_store.read()
    supervised = journal_store.is_supervised()
    reported = journal_store.read_status() if supervised else {}
    is_moving = journal.request is not None or journal.command is not None
    ended = journal.rollouts[-1].reason if journal.rollouts else "no release was ever rolled out"
    return RolloutStatus(
        url=reported.get("url", ""),
        state=journal.state.name,
        champion=journal.champion,
        previous=journal.previous,
        target=journal.target,
        weights=dict(journal.weights),
        seen_weights=reported.get("seen_weights", {}),
        reason=reported.get("reason", "") or "no supervisor or controller is running" if is_moving else ended,
        evidence=reported.get("evidence"),
        approvals=[dataclasses.asdict(approval) | {"steps": list(approval.steps)} for approval in journal.approvals],
        servers=reported.get("servers", []),
        supervised=supervised,
        pid=reported.get("pid"),
        admin_socket=reported.get("admin_socket", ""),
        trouble=reported.get("trouble", ""),
        failure=describe_failure(journal.rollouts[-1]) if journal.rollouts and not journal.request else None,
        condemned=[dataclasses.asdict(one) for one in journal.condemned],
        settings=list_differences(reported.get("settings") or {}, project.settings.rollout),
        server_event=_find_server_event(journal),
    )


def _find_server_event(journal: Journal) -> dict[str, Any] | None:
    last = next((one for one in reversed(journal.transitions) if one.is_event), None)
    return {"time": last.time, "text": last.reason} if last else None
