"""What people are told about condemned releases: that and why a release is condemned, and who started it again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.release.model_layer import digest_behaviour
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Condemnation, Journal


def find_condemnation(project: Project, journal: Journal, digest: str) -> Condemnation | None:
    """Return why a release is condemned, or another one that answers every request in the same way; None if neither is.

    If the same model, code and libraries are packaged again, the release has another digest, and would fail again.

    Args:
        project: The project whose store has the releases. Those that it does not have are compared by their digests only.
        journal: The present state of the rollout.
        digest: The release.
    """
    if found := journal.find_condemnation(digest):
        return found
    own = _identify(project, digest) if journal.condemned else None
    alike = (one for one in reversed(journal.condemned) if own and _identify(project, one.release) == own)
    return next(alike, None)


def _identify(project: Project, digest: str) -> tuple[str, str] | None:
    """Return the digests of what determines a release's answers; None if the store does not have the release."""
    store = ReleaseStore(project.state / "releases")
    try:
        release = store.get(digest)
        return digest_behaviour(store.unpack(release.digest)), str(release.manifest["environment"]["lock_digest"])
    except StateError:
        return None


def describe_condemnation(journal: Journal, digest: str) -> str:
    """Say when and why a release was condemned, and, while its rollout runs, who started it again and why.

    Args:
        journal: The present state of the rollout.
        digest: The release.

    Returns:
        One clause; empty if the release is not condemned.
    """
    found = journal.find_condemnation(digest)
    if found is None:
        return ""
    condemned = f"condemned at {time.strftime('%Y-%m-%d %H:%M', time.localtime(found.at))}, because {found.reason}"
    request = journal.request
    if request is None or request.release != digest or not request.again:
        return condemned
    return f"started again by {request.by} although {condemned}. The reason to start again: {request.again}"


def read_condemnations(project: Project) -> dict[str, str]:
    """Return what `describe_condemnation` says of each condemned release, by release, oldest first."""
    journal = open_journal(project).read()
    return {one.release: describe_condemnation(journal, one.release) for one in journal.condemned}


def read_condemnation(project: Project, digest: str) -> str:
    """Return what `describe_condemnation` says with the project's journal."""
    return describe_condemnation(open_journal(project).read(), digest)
