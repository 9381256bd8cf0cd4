"""The number and the image of a release that a person or a pipeline step names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sluice.release.project_releases import open_registry_releases

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.release.registry.publishing import PublishedRelease
    from sluice.rollout.decisions.states import Journal


def publish_release(project: Project, digest: str) -> tuple[int, str]:
    """Push a release to its registry if a cluster serves production, and return its number and its image.

    Returns:
        The number of the release and the image by digest; ``(0, "")`` on a laptop, which needs neither.

    Raises:
        StateError: Neither the state folder nor the registry holds this release.
        UsageError: serving.repository is not set.
        ServiceError: The registry does not answer, or refuses.
    """
    if not project.settings.rollout.in_cluster:
        return 0, ""
    published = _publish_once(project, digest)
    return published.release.number, published.image


@cache
def _publish_once(project: Project, digest: str) -> PublishedRelease:
    return open_registry_releases(project).publish(digest)


def find_image(project: Project, journal: Journal, digest: str) -> str:
    """Return the image that serves a release: the one of its running rollout, otherwise the one in its registry."""
    if journal.request is not None and journal.request.release == digest:
        return journal.request.image
    return publish_release(project, digest)[1]
