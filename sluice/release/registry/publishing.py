"""A project's releases in its registry: where to, on which base, as sluice.toml and the command line say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import UsageError
from sluice.release.registry.client import Registry
from sluice.release.registry.pushing import Pushed, push_release
from sluice.release.registry.references import Reference, read_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.release.store.releases import Release, ReleaseStore


@dataclass(frozen=True, slots=True)
class Destination:
    """Where releases go.

    Attributes:
        repository: The repository.
        base: The serving image.
        plain_http: Whether the registries are spoken to by HTTP.
        verify: Whether their certificates must be valid.
    """

    repository: Reference
    base: Reference
    plain_http: bool = False
    verify: bool = True


def find_destination(
    project: Project, *, to: str = "", base: str = "", plain_http: bool = False, verify: bool = True
) -> Destination:
    """Where a project's releases go; what is given wins over sluice.toml.

    Raises:
        UsageError: No repository or no base is named, or a name is no image's.
    """
    serving = project.settings.serving
    named = {"repository": (to or serving.repository, "--to"), "image": (base or serving.image, "--base")}
    for key, (value, option) in named.items():
        if not value:
            raise UsageError(f"no {key} is named", hint=f"Say {option}, or set serving.{key} in sluice.toml.")
    return Destination(
        read_reference(named["repository"][0]), read_reference(named["image"][0]), plain_http or serving.plain_http, verify
    )


def tags_of(release: Release) -> list[str]:
    """The tags that a release has wherever it is pushed."""
    return [f"release-{release.number}"]


def publish(store: ReleaseStore, release: Release, destination: Destination, *, tags: Sequence[str] = ()) -> Pushed:
    """Push a release; again, and nothing is sent.

    Args:
        store: The store that holds it.
        release: The release.
        destination: Where to.
        tags: Tags beside its own.

    Raises:
        IntegrityError: Bytes are not what they should be.
        ServiceError: A registry does not answer or refuses.
        UnsupportedError: The base is not for the release's platform.
    """
    to, base = destination.repository, destination.base
    with (
        Registry(to.host, to.repository, plain_http=destination.plain_http, verify=destination.verify) as registry,
        Registry(base.host, base.repository, plain_http=destination.plain_http, verify=destination.verify) as origin,
    ):
        return push_release(store, release, base, registry, origin, tags=[*tags_of(release), *tags])
