"""The serving image that releases are built on: its manifest, and its environment, which a label of the image describes.

`make images` writes the label. A server refuses a release whose environment differs from its own at its start, so such a release
is refused before it is trained, and before it is pushed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import RefusedError, UnsupportedError
from sluice.release.fingerprint import compare_fingerprints
from sluice.release.registry.registry_client import DOCKER_LIST
from sluice.release.store.layout import INDEX_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.release.registry.registry_client import RegistryClient

ENVIRONMENT_LABEL = "sluice.fingerprint"
"""Label of a serving image: the fingerprint of its environment, as `python -m sluice.release.fingerprint` prints it there."""


def read_base_manifest(source: RegistryClient, target: str, architecture: str) -> dict[str, Any]:
    """Read the manifest of the base image for one architecture.

    Raises:
        ServiceError: The image does not exist, or the registry does not answer.
        UnsupportedError: The base image is not built for this architecture.
    """
    data, media_type = source.read_manifest(target)
    document = json.loads(data)
    if media_type not in {INDEX_TYPE, DOCKER_LIST}:
        return dict(document)
    for entry in document["manifests"]:
        platform = entry.get("platform") or {}
        if platform.get("architecture") == architecture and platform.get("os", "linux") == "linux":
            return dict(json.loads(source.read_manifest(entry["digest"])[0]))
    raise UnsupportedError(
        f"the base image {source.repository}:{target} is not built for linux/{architecture}",
        hint="Build the serving image for this architecture.",
    )


def read_environment(source: RegistryClient, target: str, architecture: str) -> dict[str, Any] | None:
    """Return the fingerprint of an image's environment; None if the image has no label that contains it.

    Raises:
        IntegrityError: The image's configuration does not have its digest.
        ServiceError: The image does not exist, or the registry does not answer.
        UnsupportedError: The image is not built for this architecture.
    """
    manifest = read_base_manifest(source, target, architecture)
    with tempfile.TemporaryDirectory(prefix="sluice-image-") as folder:
        file = Path(folder, "config")
        source.read_blob(manifest["config"], file)
        return read_environment_label(json.loads(file.read_text(encoding="utf-8")))


def read_environment_label(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fingerprint in the label of an image's configuration; None if there is none that can be read."""
    try:
        found = json.loads(config["config"]["Labels"][ENVIRONMENT_LABEL])
        return dict(found) if {"python", "machine", "libraries"} <= found.keys() else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def check_same_environment(trained: Mapping[str, Any], serving: Mapping[str, Any], image: str) -> None:
    """Check that a serving image can serve what an environment trains.

    Args:
        trained: The fingerprint of the training environment.
        serving: The fingerprint of the image's environment.
        image: The name of the image, for the message.

    Raises:
        RefusedError: They differ in what may change an answer. Each server would refuse the release at its start.
    """
    if differences := compare_fingerprints(trained, serving):
        raise RefusedError(
            f"the serving image {image} has another environment than the one that trains the model: {'; '.join(differences)}",
            hint="Build the step image and the serving image from the same base image and lock files (`make images`), push both, "
            "and name them in sluice.toml.",
        )
