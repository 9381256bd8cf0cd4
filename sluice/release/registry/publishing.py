"""Push a project's release to the repository, and on the base image, that sluice.toml or the command line names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import UsageError
from sluice.release.registry.image_references import ImageReference, read_image_reference
from sluice.release.registry.pushing import PushResult, push_release
from sluice.release.registry.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release, ReleaseStore


@dataclass(frozen=True, slots=True)
class Destination:
    """The repository for releases, and how to reach it.

    Attributes:
        repository: The repository that releases are pushed to.
        base: The serving image.
        plain_http: Whether both registries use HTTP.
        verify: Whether their certificates must be valid.
    """

    repository: ImageReference
    base: ImageReference
    plain_http: bool = False
    verify: bool = True


def find_destination(
    project: Project, *, to: str = "", base: str = "", plain_http: bool = False, verify: bool = True
) -> Destination:
    """Return the destination of a project's releases. The arguments take precedence over sluice.toml.

    Raises:
        UsageError: The repository or the base image is not set, or its name is not valid.
    """
    serving = project.settings.serving
    named = {"repository": (to or serving.repository, "--to"), "image": (base or serving.image, "--base")}
    for key, (value, option) in named.items():
        if not value:
            raise UsageError(f"serving.{key} is not set", hint=f"Pass {option}, or set serving.{key} in sluice.toml.")
    return Destination(
        read_image_reference(named["repository"][0]),
        read_image_reference(named["image"][0]),
        plain_http or serving.plain_http,
        verify,
    )


def tags_of(release: Release) -> list[str]:
    """Return the tags that a release has in every registry."""
    return [f"release-{release.number}"]


def publish(store: ReleaseStore, release: Release, destination: Destination, *, tags: Sequence[str] = ()) -> PushResult:
    """Push a release. A second push sends nothing.

    Args:
        store: The store that contains the release.
        release: The release.
        destination: The destination.
        tags: Tags in addition to the release's own tag.

    Raises:
        IntegrityError: Bytes of the release or of the base image do not have their digest.
        ServiceError: A registry refuses or does not answer.
        UnsupportedError: The base image is not built for the release's architecture.
    """
    to, base = destination.repository, destination.base
    with (
        RegistryClient(to.host, to.repository, plain_http=destination.plain_http, verify=destination.verify) as registry,
        RegistryClient(base.host, base.repository, plain_http=destination.plain_http, verify=destination.verify) as source,
    ):
        return push_release(store, release, base, registry, source, tags=[*tags_of(release), *tags])
