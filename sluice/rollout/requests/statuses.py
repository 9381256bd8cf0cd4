"""Where a project's rollout stands: what the journal holds, and what a running supervisor says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """Who serves production, and what a rollout is doing. Plain JSON types.

    Attributes:
        url: Of the proxy; empty where nobody serves.
        state: Phase, with the step's number.
        champion: Digest of the release that takes production traffic.
        previous: Digest of N-1.
        target: Digest of the canary.
        weights: Wished per cent by release.
        seen_weights: Per cent above 0 that the proxy applied lately.
        reason: What is being waited for, or why the last rollout ended.
        evidence: Counts and numbers of the running rollout.
        approvals: Unused approvals.
        servers: Each release's server: pid, port, ready, crashes.
        pid: Of the supervisor.
        admin_url: Of the proxy's admin interface.
        supervised: Somebody acts on requests.
        trouble: What the supervisor could not do in its last round, and tries again; empty where nothing.
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
    admin_url: str = ""
    trouble: str = ""


def read_status(project: Project) -> RolloutStatus:
    """The status now; works whether or not anybody serves.

    Raises:
        DataError: The journal cannot be read.
    """
    file = open_journal(project)
    journal = file.read()
    supervised = file.is_supervised()
    said = file.read_status() if supervised else {}
    ended = journal.rollouts[-1].reason if journal.rollouts else "nothing was ever rolled out"
    return RolloutStatus(
        url=said.get("url", ""),
        state=journal.state.name,
        champion=journal.champion,
        previous=journal.previous,
        target=journal.target,
        weights=dict(journal.weights),
        seen_weights=said.get("seen_weights", {}),
        reason=said.get("reason", "") or "nobody is serving" if journal.request else ended,
        evidence=said.get("evidence"),
        approvals=[dataclasses.asdict(approval) | {"steps": list(approval.steps)} for approval in journal.approvals],
        servers=said.get("servers", []),
        supervised=supervised,
        pid=said.get("pid"),
        admin_url=said.get("admin_url", ""),
        trouble=said.get("trouble", ""),
    )
