"""Push a project's release to the repository, and on the base image, that sluice.toml or the command line names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import UsageError
from sluice.release.registry.image_references import ImageReference, read_image_reference
from sluice.release.registry.numbering import number_release, tag_image
from sluice.release.registry.pushing import PushResult, push_release
from sluice.release.registry.registry_client import RegistryClient
from sluice.release.registry.release_documents import attach_provenance, is_signing
from sluice.release.registry.release_tags import layer_tag, number_tag, read_release_tags

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release, ReleaseStore


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository for releases, and how to reach it.

    Attributes:
        name: The repository.
        plain_http: Whether the registry uses HTTP.
        verify: Whether its certificate must be valid.
    """

    name: ImageReference
    plain_http: bool = False
    verify: bool = True

    def open(self, **limits: Any) -> RegistryClient:  # noqa: ANN401 - a number each
        """Return a client for the repository, with the limits of a `RegistryClient` if some are given."""
        return RegistryClient(self.name.host, self.name.repository, plain_http=self.plain_http, verify=self.verify, **limits)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where releases are pushed to, and on top of which image.

    Attributes:
        to: The repository for releases.
        base: The serving image. It is reached in the same way as the repository.
    """

    to: Repository
    base: ImageReference

    def open_base(self, **limits: Any) -> RegistryClient:  # noqa: ANN401 - a number each
        """Return a client for the repository of the serving image, with the limits of a `RegistryClient` if some are given."""
        return dataclasses.replace(self.to, name=self.base).open(**limits)


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """A release that is in its registry.

    Attributes:
        release: The release, with its number in the registry.
        image: The image by digest, ``host/repository@sha256:…``.
    """

    release: Release
    image: str


def find_repository(project: Project, *, to: str = "", plain_http: bool = False, verify: bool = True) -> Repository:
    """Return the repository of a project's releases. The arguments take precedence over sluice.toml.

    Raises:
        UsageError: The repository is not set, or its name is not valid.
    """
    serving = project.settings.serving
    name = _require_name(to or serving.repository, "repository", "--to")
    return Repository(name, plain_http or serving.plain_http, verify)


def find_destination(
    project: Project, *, to: str = "", base: str = "", plain_http: bool = False, verify: bool = True
) -> Destination:
    """Return where a project's releases are pushed to. The arguments take precedence over sluice.toml.

    Raises:
        UsageError: The repository or the base image is not set, or its name is not valid.
    """
    repository = find_repository(project, to=to, plain_http=plain_http, verify=verify)
    return Destination(repository, _require_name(base or project.settings.serving.image, "image", "--base"))


def _require_name(value: str, key: str, option: str) -> ImageReference:
    if not value:
        raise UsageError(f"serving.{key} is not set", hint=f"Pass {option}, or set serving.{key} in sluice.toml.")
    return read_image_reference(value)


def tags_of(digest: str, number: int) -> list[str]:
    """Return the tags that a release has in every registry: one for people, and one that names its model layer."""
    return [number_tag(number), layer_tag(digest, number)]


def publish(store: ReleaseStore, release: Release, destination: Destination) -> PushResult:
    """Push a release to any repository, on the present serving image. A second push sends nothing.

    The release keeps its number, unless another release has that number in the registry. If the registry has the release on an
    earlier serving image, the tags move to the new image. Steps use `RegistryReleases.publish`, which leaves a release in the
    registry as it is. If a key is configured, the image's provenance is signed and attached.

    Args:
        store: The store that contains the release.
        release: The release.
        destination: The destination.

    Raises:
        ConfigurationError: The signing key cannot be used.
        IntegrityError: Bytes of the release or of the base image do not have their digest.
        ServiceError: A registry refuses or does not answer.
        UnsupportedError: The base image is not built for the release's architecture.
    """
    with destination.to.open() as registry, destination.open_base() as source:
        pushed = push_release(store, release, destination.base, registry, source, tags=())
        image = pushed.image.partition("@")[2]
        number = read_release_tags(registry.list_tags()).numbers.get(release.digest)
        if number is None:
            number = number_release(registry, release.digest, image, wanted=release.number)
        tags = tags_of(release.digest, number)
        if is_signing():
            attach_provenance(registry, release, image)
        for tag in tags:
            if registry.find_manifest(tag) != image:
                tag_image(registry, image, tag)
    return dataclasses.replace(pushed, tags=tuple(tags))
