"""What people are told about condemned releases: that and why a release is condemned, and who started it again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal


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
