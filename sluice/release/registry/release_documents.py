"""What the image of a release in a registry says about itself, for whoever verifies it, and the provenance of the image.

The requester chose the image, so its contents may be anything. Nothing of it is stored on the disk or loaded.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError
from sluice.release import provenance
from sluice.release.envelopes import read_signing_key
from sluice.release.model_layer import read_layer_contents
from sluice.release.registry.referrers import attach_document, list_documents
from sluice.release.trust_rules import ReleaseDocuments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.release.registry.registry_client import RegistryClient
    from sluice.release.store.releases import Release

MAX_DOCUMENT_BYTES = 512 << 10
MAX_DOCUMENTS = 16
"""A provenance has some kilobytes, and an image has one for each key that signed it. The newest ones are read, and no more."""


def is_signing() -> bool:
    """Return whether a key for the provenance is configured.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    return read_signing_key(provenance.KEY_VARIABLE) is not None


def attach_provenance(registry: RegistryClient, release: Release, image: str) -> None:
    """Attach the signed provenance of an image that this process has put together itself. Doing so again changes nothing.

    The provenance of the release in its store is about the image there, which has no serving image below the model layer.

    Args:
        registry: The repository.
        release: The release.
        image: The digest of its image in the repository.

    Raises:
        ConfigurationError: The key cannot be used.
        ServiceError: The registry refuses or does not answer.
    """
    document = provenance.sign_provenance(release.manifest, digest=release.digest, image_digest=image)
    attach_document(registry, registry.describe(*registry.read_manifest(image)), provenance.ATTACHMENT_KIND, document)


def read_image_documents(registry: RegistryClient, image: str) -> ReleaseDocuments:
    """Read what an image says about itself. The model layer passes through the memory, a piece at a time.

    Args:
        registry: The repository.
        image: The digest of the image.

    Raises:
        IntegrityError: The registry returned other bytes than a digest says, or the image is not the image of a release.
        ServiceError: The registry does not answer, or has no such image.
    """
    data, _ = registry.read_manifest(image)
    try:
        layer = dict(json.loads(data)["layers"][-1])
        digest = str(layer["digest"])
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"{image[:19]} is not the image of a release: {error}", hint="Push the release again.") from error
    with registry.open_blob(layer) as source:
        contents = read_layer_contents(source)
    if contents.digest != digest:
        raise IntegrityError(f"{registry.host} returned bytes whose digest is not {digest}", hint="Try again.")
    return ReleaseDocuments(
        release=contents.digest,
        image=image,
        model=contents.model,
        manifest=contents.manifest,
        provenance=list(_read_provenance(registry, image)),
    )


def _read_provenance(registry: RegistryClient, image: str) -> Iterator[Any]:
    """Yield the documents that are attached as provenance, newest first. What cannot be read is left out: anybody may attach."""
    for digest in reversed(list_documents(registry, image, provenance.ATTACHMENT_KIND)[-MAX_DOCUMENTS:]):
        with registry.open_blob({"digest": digest}) as source:
            data = source.read(MAX_DOCUMENT_BYTES + 1)
        with contextlib.suppress(ValueError, RecursionError):
            if len(data) <= MAX_DOCUMENT_BYTES:
                yield json.loads(data)
