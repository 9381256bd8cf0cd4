"""Find a release in its registry, and download its model layer. Nothing is trusted that does not have the asked digest."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError, ServiceError
from sluice.release.registry.release_tags import ReleaseTags, layer_tag, number_tag, read_release_tags
from sluice.release.store import images
from sluice.release.store.layout import PREFIX
from sluice.release.store.releases import Release

if TYPE_CHECKING:
    from sluice.release.registry.registry_client import RegistryClient
    from sluice.release.store.layout import Descriptor
    from sluice.release.store.releases import ReleaseStore


@dataclass(frozen=True, slots=True)
class StoredImage:
    """The image of a release in a registry.

    Attributes:
        image: The descriptor of the image: ``mediaType``, ``digest`` and ``size``.
        layer: The descriptor of the model layer, which is the last layer.
        config: The descriptor of the configuration.
        number: The number of the release.
    """

    image: Descriptor
    layer: Descriptor
    config: Descriptor
    number: int


def find_by_layer(registry: RegistryClient, digest: str, tags: ReleaseTags | None = None) -> StoredImage | None:
    """Return the image of the release with a model layer; None if the registry has none.

    Args:
        registry: The repository.
        digest: The digest of the model layer.
        tags: The tags of the repository, if they were read already.

    Raises:
        IntegrityError: The tag of this layer names an image with another model layer.
        ServiceError: The registry does not answer.
    """
    tags = tags or read_release_tags(registry.list_tags())
    if digest in tags.numbers:
        number = tags.numbers[digest]
        found = _read_image(registry, layer_tag(digest, number), number)
        if found.layer["digest"] != digest:
            raise IntegrityError(
                f"the tag {layer_tag(digest, number)} of {registry.host}/{registry.repository} names an image whose model layer "
                f"is {found.layer['digest']}",
                hint="Somebody moved the tag. Nothing was loaded. Push the release again: `sluice release push`.",
            )
        return found
    for number in tags.untold:
        found = _read_image(registry, number_tag(number), number)
        if found.layer["digest"] == digest:
            return found
    return None


def find_by_number(registry: RegistryClient, number: int) -> StoredImage | None:
    """Return the image of the release with a number; None if the registry has none."""
    return _read_image(registry, number_tag(number), number) if registry.find_manifest(number_tag(number)) else None


def find_by_target(registry: RegistryClient, target: str) -> StoredImage | None:
    """Return the image with a digest, or with a tag such as ``champion``; None if the registry has no release there."""
    if not registry.find_manifest(target):
        return None
    layer = _read_image(registry, target, 0).layer["digest"]
    return find_by_layer(registry, layer)


def find_by_beginning(registry: RegistryClient, beginning: str) -> list[str]:
    """Return the digests of the model layers that begin with some digits, with or without ``sha256:``."""
    tags = read_release_tags(registry.list_tags())
    return [digest for digest in tags.numbers if digest.startswith(PREFIX + beginning.removeprefix(PREFIX))]


def list_images(registry: RegistryClient, known: frozenset[str]) -> list[tuple[int, str | StoredImage]]:
    """Return all releases of a registry.

    Args:
        registry: The repository.
        known: Digests of model layers whose image is not needed.

    Returns:
        The number of each release, with the digest of its layer if it is known, otherwise with its image.
    """
    tags = read_release_tags(registry.list_tags())
    told = [
        (number, digest if digest in known else _read_image(registry, layer_tag(digest, number), number))
        for digest, number in tags.numbers.items()
    ]
    return told + [(number, _read_image(registry, number_tag(number), number)) for number in tags.untold]


def read_release(registry: RegistryClient, found: StoredImage) -> Release:
    """Return what the labels of an image say about its release, without the model layer. Nothing checks these labels."""
    with tempfile.TemporaryDirectory(prefix="sluice-pull-") as folder:
        file = Path(folder) / "config"
        registry.read_blob(found.config, file)
        manifest = images.read_manifest_label(json.loads(file.read_text(encoding="utf-8")))
    tags = frozenset({number_tag(found.number)})
    return Release(found.number, found.layer["digest"], found.image["digest"], manifest, tags)


def pull_release(registry: RegistryClient, found: StoredImage, store: ReleaseStore) -> Release:
    """Download the model layer of an image, verify its digest, and add it to a store with its number in the registry.

    Raises:
        IntegrityError: The registry returns other bytes, or the layer is not a model layer.
        ServiceError: The registry does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-pull-") as folder:
        file = Path(folder) / "layer"
        registry.read_blob(found.layer, file)
        return store.restore(file, found.layer["digest"], found.number)


def _read_image(registry: RegistryClient, target: str, number: int) -> StoredImage:
    data, media_type = registry.read_manifest(target)
    try:
        document: dict[str, Any] = json.loads(data)
        layer, config = document["layers"][-1], document["config"]
        _ = (layer["digest"], layer["size"], config["digest"])
    except (LookupError, TypeError, ValueError) as error:
        raise ServiceError(
            f"{registry.host}/{registry.repository}:{target} is not the image of a release: {type(error).__name__}: {error}",
            hint="Let serving.repository name a repository that only Sluice pushes to.",
        ) from error
    return StoredImage(registry.describe(data, media_type), layer, config, number)
