"""The releases of a project: in its registry if serving.repository names one, otherwise in its state folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sluice.release.store.releases import ReleaseStore
from sluice.run_warnings import RunWarning

if TYPE_CHECKING:
    import builtins  # inside the class `list` is a method
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.release.registry.registry_releases import RegistryReleases
    from sluice.release.store.releases import Release
    from sluice.release.trust_rules import ReleaseDocuments
    from sluice.verdicts import Verdict

FOLDER = "releases"
"""The folder of the releases in the project's state folder."""

WARNINGS = "warnings"
"""Kind of the attachment that holds the warnings about a release."""


class Releases(Protocol):
    """The releases of a project, wherever they are. `ReleaseStore` says what each method does."""

    def add(self, layer_folder: Path) -> Release:
        """Add a model layer as a release."""

    def list(self) -> list[Release]:
        """Return all releases, oldest first."""

    def get(self, ref: str) -> Release:
        """Return the release that a reference names."""

    def attach(self, digest: str, kind: str, document: Mapping[str, Any]) -> None:
        """Attach a document to a release."""

    def attachments(self, digest: str) -> builtins.list[dict[str, Any]]:
        """Return the documents that are attached to a release, oldest first."""

    def read_documents(self, digest: str) -> ReleaseDocuments:
        """Return what a release says about itself, for whoever verifies it."""

    def unpack(self, digest: str) -> Path:
        """Return a folder with the release's verified files."""

    def verify(self, ref: str, *, key: Path | None = None) -> builtins.list[Verdict]:
        """Check every byte of a release."""

    def move_tags(self, tags: Mapping[str, str | None]) -> None:
        """Move several tags at once."""


def open_releases(project: Project) -> Releases:
    """Return the releases of a project. Nothing is read or asked yet.

    If ``serving.repository`` is set, the registry holds the releases, and the state folder is only a cache. So a step in a
    cluster finds every release, although its own state folder is empty.

    Raises:
        UsageError: serving.repository is not the name of a repository.
    """
    return open_registry_releases(project) if project.settings.serving.repository else open_folder(project)


def read_warnings_about(project: Project, digest: str) -> list[RunWarning]:
    """Return the warnings that were attached to a release."""
    documents = [one["document"] for one in open_releases(project).attachments(digest) if one["kind"] == WARNINGS]
    return [RunWarning.from_dict(values) for document in documents for values in document.get("warnings", [])]


def open_folder(project: Project) -> ReleaseStore:
    """Return the releases in the project's state folder, which may be a cache of the registry."""
    return ReleaseStore(project.state / FOLDER)


def open_registry_releases(project: Project) -> RegistryReleases:
    """Return the releases in the project's registry.

    Raises:
        UsageError: serving.repository is not set, or it is not the name of a repository.
    """
    # Only a project with a registry needs the client, which takes 0.1 s to import.
    from sluice.release.registry.publishing import find_destination, find_repository  # noqa: PLC0415
    from sluice.release.registry.registry_releases import RegistryReleases  # noqa: PLC0415

    return RegistryReleases(
        open_folder(project),
        find_repository(project).open,
        lambda: find_destination(project),
        roles_in_registry=project.settings.rollout.in_cluster,
    )
