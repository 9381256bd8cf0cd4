"""The number and the image of a release that a person or a pipeline step names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sluice.release.store.releases import ReleaseStore

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.release.registry.publishing import Destination
    from sluice.rollout.decisions.states import Journal


def publish_release(project: Project, digest: str) -> tuple[int, str]:
    """Push a release to its registry if a cluster serves production, and return its number and its image.

    Returns:
        The number in the release store and the image by digest; ``(0, "")`` on a laptop, which needs neither.

    Raises:
        StateError: The release store does not hold this release.
        ServiceError: The registry does not answer, or refuses.
    """
    if not project.settings.rollout.in_cluster:
        return 0, ""
    from sluice.release.registry.publishing import find_destination  # noqa: PLC0415 - only a cluster needs the registry

    return _publish_once(project.state / "releases", digest, find_destination(project))


@cache
def _publish_once(folder: Path, digest: str, destination: Destination) -> tuple[int, str]:
    from sluice.release.registry.publishing import publish  # noqa: PLC0415 - only a cluster needs the registry

    store = ReleaseStore(folder)
    release = store.get(digest)
    return release.number, publish(store, release, destination).image


def find_image(project: Project, journal: Journal, digest: str) -> str:
    """Return the image that serves a release: the one of its running rollout, otherwise the one in its registry."""
    if journal.request is not None and journal.request.release == digest:
        return journal.request.image
    return publish_release(project, digest)[1]
