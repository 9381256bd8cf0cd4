"""Serve the packaged release for layer 4.

On a laptop, a process of the serving environment serves it. In a cluster, a Pod of its image does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.release.project_releases import open_registry_releases
from sluice.scoring.release_pods import ReleasePod, runs_in_pod, start_pod
from sluice.scoring.server_process import ReleaseServer, start_server

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def serve_release(project: Project, folder: Path, digest: str, *, log: Path) -> ReleaseServer | ReleasePod:
    """Serve a release until `stop` is called.

    Args:
        project: The project.
        folder: The unpacked model layer.
        digest: Digest of the release.
        log: File for the server's output.

    Raises:
        ConfigurationError: The serving environment does not exist.
        ServiceError: The server did not become ready in time. The message contains the reason.
    """
    if not (runs_in_pod() and project.settings.serving.repository):
        return start_server(project, folder, digest, log=log)
    published = open_registry_releases(project).publish(digest)
    return start_pod(project, folder, digest, published.image, log=log)
