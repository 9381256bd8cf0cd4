"""The OCI documents of a release: the image manifest, its configuration, and the manifests of attached documents. Pure functions.

Specification: opencontainers/image-spec v1.1 (image manifests, ``artifactType`` and ``subject`` for referrers).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError
from sluice.release.store.layout import MANIFEST_TYPE, Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
DOCUMENT_TYPE = "application/json"
EMPTY_DOCUMENT = b"{}"
REF_NAME = "org.opencontainers.image.ref.name"
RELEASE = "sluice.release"
MANIFEST_LABEL = "sluice.manifest"
LOCK_LABEL = "sluice.base-lock"
_ATTACHMENT_PREFIX = "application/vnd.sluice."
_ATTACHMENT_SUFFIX = ".v1+json"
_ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def plan_config(manifest: Mapping[str, Any], layer_digest: str) -> dict[str, Any]:
    """Return the image's configuration. Its labels contain the release's manifest, so that the tools of any registry show it.

    Args:
        manifest: The release's manifest.
        layer_digest: The digest of the model layer. It is also the ``diff_id``, because the layer is not compressed.
    """
    machine = str(manifest["environment"]["fingerprint"]["machine"])
    labels = {
        MANIFEST_LABEL: json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        LOCK_LABEL: manifest["environment"]["lock_digest"],
        "org.opencontainers.image.title": manifest["project"],
        "org.opencontainers.image.revision": manifest["code"]["commit"],
    }
    return {
        "architecture": name_architecture(machine),
        "os": "linux",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }


def name_architecture(machine: str) -> str:
    """Return the OCI name of an architecture that Python calls `machine`."""
    return _ARCHITECTURES.get(machine, machine)


def plan_image(config: Descriptor, layer: Descriptor) -> dict[str, Any]:
    """Return the image's manifest with the model layer only. A label names the base image by the digest of its lock file."""
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}


def plan_attachment(kind: str, document: Descriptor, empty: Descriptor, subject: Descriptor) -> dict[str, Any]:
    """Return the manifest that attaches one document to a release's image."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": attachment_type(kind),
        "config": empty,
        "layers": [document],
        "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
    }


def attachment_type(kind: str) -> str:
    """Return the artifact type of a kind of document."""
    return f"{_ATTACHMENT_PREFIX}{kind}{_ATTACHMENT_SUFFIX}"


def is_attachment(artifact_type: str) -> bool:
    """Return whether an artifact type is one of `attachment_type`."""
    return artifact_type.startswith(_ATTACHMENT_PREFIX)


def read_attachment_kind(artifact_type: str) -> str:
    """Return the kind that `attachment_type` received."""
    return artifact_type.removeprefix(_ATTACHMENT_PREFIX).removesuffix(_ATTACHMENT_SUFFIX)


def read_manifest_label(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read the release's manifest from an image's configuration.

    Raises:
        IntegrityError: The configuration contains no manifest of a release.
    """
    try:
        return dict(json.loads(config["config"]["Labels"][MANIFEST_LABEL]))
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the image has no manifest of a release in its labels: {error}",
            hint="Use an image that Sluice has packaged as a release.",
        ) from error


def find_releases(index: Mapping[str, Any]) -> dict[str, list[Descriptor]]:
    """Return the index grouped by release: digest of the model layer → one descriptor per tag, in the index's order."""
    found: dict[str, list[Descriptor]] = {}
    for descriptor in index["manifests"]:
        annotations = descriptor.get("annotations", {})
        if RELEASE in annotations and REF_NAME in annotations:
            found.setdefault(annotations[RELEASE], []).append(descriptor)
    return found


def find_attachments(index: Mapping[str, Any], release: str) -> list[Descriptor]:
    """Return the descriptors of the documents that are attached to a release, oldest first."""
    return [
        descriptor
        for descriptor in index["manifests"]
        if "artifactType" in descriptor and descriptor.get("annotations", {}).get(RELEASE) == release
    ]


def tags_of(descriptors: Sequence[Descriptor]) -> frozenset[str]:
    """Return the tags in the descriptors of one release."""
    return frozenset(descriptor["annotations"][REF_NAME] for descriptor in descriptors)
