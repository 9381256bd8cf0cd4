"""Which platform a project uses: the setting ``rollout.splitter`` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.journals import JournalStore


def open_journal(project: Project) -> JournalStore:
    """Return the journal of a project, on the platform that serves its production traffic.

    Raises:
        ServiceError: The journal is in a cluster, and no cluster can be reached.
    """
    if project.settings.rollout.in_cluster:
        from sluice.rollout.platforms.seldon.resources.rollout_journals import open_seldon_journal  # noqa: PLC0415 - a second of imports

        return open_seldon_journal(project)
    from sluice.rollout.platforms.laptop.journal_file import open_journal_file  # noqa: PLC0415 - only the platform in use

    return open_journal_file(project)
