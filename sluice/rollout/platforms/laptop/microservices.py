"""Releases of the project's store, served by real Seldon microservices of the serving environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.release.store.releases import ReleaseStore
from sluice.scoring.server_process import spawn_server

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.scoring.server_process import ReleaseServer


class Microservices:
    """Starts servers of releases, and lets the store's tags ``champion`` and ``previous`` follow the journal."""

    def __init__(self, project: Project) -> None:
        """Serve releases of this project."""
        self._project = project
        self._store = ReleaseStore(project.state / "releases")

    def prepare(self, release: str) -> Path:
        """Unpack and verify a release.

        Raises:
            IntegrityError: Its bytes are not those of its digest.
            StateError: There is no such release.
        """
        return self._store.unpack(release)

    def spawn(self, release: str, folder: Path) -> ReleaseServer:
        """Start its server and come back at once.

        Raises:
            ConfigurationError: The serving environment is not there.
            ServiceError: It cannot be started.
        """
        log = self._project.state / "logs" / f"server-{release.removeprefix('sha256:')[:12]}.log"
        return spawn_server(self._project, folder, release, log=log)

    def mark(self, champion: str | None, previous: str | None) -> None:
        """Move both tags at once; before the first champion there is nothing to tag.

        Raises:
            StateError: One of them is not in the store.
        """
        if champion is not None:
            self._store.move_tags({"champion": champion, "previous": previous})
