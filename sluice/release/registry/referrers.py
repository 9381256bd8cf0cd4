"""Documents that are attached to a release's image in a registry, as OCI referrers.

Specification: opencontainers/distribution-spec v1.1. A registry with the referrers API lists the manifests whose ``subject`` is
an image. For a registry without it, the client keeps this list itself, as an image index under the tag ``sha256-<hex digits>``
(the referrers tag schema).
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.release.manifest import write_json
from sluice.release.store import images
from sluice.release.store.layout import INDEX_TYPE, MANIFEST_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.release.registry.registry_client import RegistryClient
    from sluice.release.store.layout import Descriptor

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME_LENGTH = 40
CREATED = "org.opencontainers.image.created"
_TRIES = 10
_PAUSE_SECONDS = 0.1


def attach_document(registry: RegistryClient, subject: Descriptor, kind: str, document: Mapping[str, Any]) -> None:
    """Attach a document to an image. Attaching the same document again changes nothing.

    Args:
        registry: The repository of the image.
        subject: The descriptor of the image.
        kind: The kind of document.
        document: The document as plain JSON types.

    Raises:
        DataError: The document cannot be written as JSON.
        ServiceError: The registry refuses or does not answer, or other processes attach documents all the time.
    """
    blob = _upload(registry, write_json(document), images.DOCUMENT_TYPE)
    listed = [_read_manifest(registry, each) for each in _list_referrers(registry, subject["digest"])]
    artifact_type = images.attachment_type(kind)
    if any((one.get("artifactType"), one["layers"][0]["digest"]) == (artifact_type, blob["digest"]) for one in listed):
        return
    empty = _upload(registry, images.EMPTY_DOCUMENT, images.EMPTY_TYPE)
    created = datetime.now(UTC).isoformat(timespec="microseconds")
    manifest = images.plan_attachment(kind, blob, empty, subject) | {"annotations": {CREATED: created}}
    data = write_json(manifest)
    described = registry.describe(data, MANIFEST_TYPE)
    if not registry.write_manifest(described["digest"], data, MANIFEST_TYPE):
        entry = described | {"artifactType": artifact_type, "annotations": {CREATED: created}}
        _add_to_tag(registry, _referrers_tag(subject["digest"]), entry)


def read_documents(registry: RegistryClient, image: str) -> list[dict[str, Any]]:
    """Return the documents that are attached to an image, oldest first.

    Args:
        registry: The repository of the image.
        image: The digest of the image.

    Returns:
        ``kind``, ``digest`` (of the document) and ``document`` for each. What others attached, for example signatures, is left
        out.

    Raises:
        IntegrityError: The registry returns bytes that do not have their digest.
        ServiceError: The registry does not answer.
    """
    read = []
    for manifest in sorted((_read_manifest(registry, each) for each in _list_referrers(registry, image)), key=_created):
        blob = manifest["layers"][0]
        kind = images.read_attachment_kind(manifest.get("artifactType", ""))
        read.append({"kind": kind, "digest": blob["digest"], "document": json.loads(_download(registry, blob))})
    return read


def list_documents(registry: RegistryClient, image: str, kind: str) -> list[str]:
    """Return the digests of the documents of one kind that are attached to an image, oldest first. They are not read.

    Anybody who may push may attach anything, so what has another form is left out, and no manifest stays in memory.

    Raises:
        IntegrityError: The registry returns bytes that do not have their digest.
        ServiceError: The registry does not answer.
    """
    artifact_type, found = images.attachment_type(kind), []
    for each in _list_referrers(registry, image):
        if each.get("artifactType") == artifact_type:
            with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
                manifest = _read_manifest(registry, each)
                found.append((_created(manifest)[:_TIME_LENGTH], _DIGEST.fullmatch(manifest["layers"][0]["digest"])))
    return [digest[0] for _, digest in sorted(found, key=lambda one: one[0]) if digest]


def _created(manifest: Mapping[str, Any]) -> str:
    return str((manifest.get("annotations") or {}).get(CREATED, ""))


def _list_referrers(registry: RegistryClient, image: str) -> list[Descriptor]:
    """Return the descriptors of Sluice's own documents that are attached to an image."""
    listed = registry.list_referrers(image)
    if listed is None:
        listed = _read_tag(registry, _referrers_tag(image))["manifests"]
    return [each for each in listed if images.is_attachment(each.get("artifactType", ""))]


def _referrers_tag(image: str) -> str:
    return image.replace(":", "-", 1)


def _read_tag(registry: RegistryClient, tag: str) -> dict[str, Any]:
    if not registry.find_manifest(tag):
        return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    return dict(json.loads(registry.read_manifest(tag)[0]))


def _add_to_tag(registry: RegistryClient, tag: str, entry: Descriptor) -> None:
    """Add an entry to the index under a tag.

    The registry has no compare-and-swap. Therefore the index is read again, and the entry is added again if another process
    replaced the index meanwhile.
    """
    for attempt in range(_TRIES):
        index = _read_tag(registry, tag)
        if any(each["digest"] == entry["digest"] for each in index["manifests"]):
            if attempt:
                return
        else:
            index["manifests"] = [*index["manifests"], entry]
            registry.write_manifest(tag, write_json(index), INDEX_TYPE)
        time.sleep(_PAUSE_SECONDS)  # so that the next look finds what another process wrote in between
    raise ServiceError(
        f"the document could not be attached in {registry.host}/{registry.repository}, because other processes replaced the list "
        f"of attached documents {_TRIES} times",
        hint="Run the step or the command again.",
    )


def _read_manifest(registry: RegistryClient, descriptor: Descriptor) -> dict[str, Any]:
    return dict(json.loads(registry.read_manifest(descriptor["digest"])[0]))


def _upload(registry: RegistryClient, data: bytes, media_type: str) -> Descriptor:
    descriptor = registry.describe(data, media_type)
    with tempfile.TemporaryDirectory(prefix="sluice-attach-") as folder:
        file = Path(folder) / "blob"
        file.write_bytes(data)
        registry.write_blob(descriptor, file)
    return descriptor


def _download(registry: RegistryClient, descriptor: Descriptor) -> str:
    with tempfile.TemporaryDirectory(prefix="sluice-attach-") as folder:
        file = Path(folder) / "blob"
        registry.read_blob(descriptor, file)
        return file.read_text(encoding="utf-8")
