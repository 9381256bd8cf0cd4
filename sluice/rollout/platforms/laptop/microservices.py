"""Servers of the releases in the project's release store: Seldon microservices in the serving environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.release.project_releases import open_releases
from sluice.scoring.server_process import spawn_server

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.scoring.server_process import ReleaseServer


class MicroserviceLauncher:
    """Start servers of releases, and move the release store's tags ``champion`` and ``previous``."""

    def __init__(self, project: Project) -> None:
        """Serve the releases of a project.

        Args:
            project: The project.
        """
        self._project = project
        self._releases = open_releases(project)

    def prepare(self, release: str) -> Path:
        """Verify and unpack a release, and return its folder.

        Raises:
            IntegrityError: The bytes of the release do not have its digest.
            StateError: The release store does not hold this release.
        """
        return self._releases.unpack(release)

    def spawn(self, release: str, folder: Path) -> ReleaseServer:
        """Start the server of an unpacked release, and return at once.

        Raises:
            ConfigurationError: The serving environment is missing.
            ServiceError: The server cannot be started.
        """
        log = self._project.state / "logs" / f"server-{release.removeprefix('sha256:')[:12]}.log"
        return spawn_server(self._project, folder, release, log=log)

    def move_tags(self, champion: str | None, previous: str | None) -> None:
        """Move both tags in one step. Before the first champion there is nothing to tag.

        Raises:
            StateError: The release store does not hold one of the two releases.
        """
        if champion is not None:
            self._releases.move_tags({"champion": champion, "previous": previous})
