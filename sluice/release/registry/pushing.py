"""Push a release as an image: the serving image with the model layer on top. This needs no Docker daemon and no build.

The same release on the same base image gives the same bytes, and so the same digest. The blobs are sent first, then the manifest
under its digest, and the tags last. So a push that fails half-way leaves no tag that names an incomplete image.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.release.manifest import write_json
from sluice.release.registry.serving_images import check_same_environment, read_base_manifest, read_environment_label
from sluice.release.store import images
from sluice.release.store.layout import MANIFEST_TYPE, hash_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.release.registry.image_references import ImageReference
    from sluice.release.registry.registry_client import RegistryClient
    from sluice.release.store.layout import Descriptor
    from sluice.release.store.releases import Release, ReleaseStore

_OCI_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
"""Docker's media type → OCI's. All layers of one image must have media types of one standard."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push.

    Attributes:
        image: The image by digest, ``host/repository@sha256:…``.
        tags: The tags that name the image.
        sent: The number of bytes that were sent.
        reused: The number of blobs that were not sent, because the repository had them or another repository could share them.
    """

    image: str
    tags: tuple[str, ...]
    sent: int
    reused: int


def plan_pushed_config(base: Mapping[str, Any], release: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pushed image's configuration: the base image's, with the release's labels and the model layer's ``diff_id``.

    Args:
        base: The configuration of the serving image.
        release: The configuration of the release in its store (`sluice.release.store.images.plan_config`).
    """
    settings = dict(base.get("config") or {})
    settings["Labels"] = {**(settings.get("Labels") or {}), **release["config"]["Labels"]}
    planned = {key: value for key, value in base.items() if key not in {"config", "rootfs", "history"}}
    diff_ids = [*base["rootfs"]["diff_ids"], *release["rootfs"]["diff_ids"]]
    return {**planned, "config": settings, "rootfs": {"type": "layers", "diff_ids": diff_ids}}


def plan_pushed_manifest(base_layers: Sequence[Descriptor], config: Descriptor, layer: Descriptor) -> dict[str, Any]:
    """Return the pushed image's manifest: the base image's layers, then the model layer."""
    layers = [
        {"mediaType": _OCI_LAYERS.get(each["mediaType"], each["mediaType"]), "digest": each["digest"], "size": each["size"]}
        for each in base_layers
    ]
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [*layers, layer]}


def push_release(
    store: ReleaseStore,
    release: Release,
    base: ImageReference,
    registry: RegistryClient,
    source: RegistryClient,
    *,
    tags: Sequence[str],
) -> PushResult:
    """Push a release.

    Args:
        store: The store that contains the release.
        release: The release.
        base: The serving image.
        registry: The repository to push to.
        source: The repository of the serving image.
        tags: The tags for the pushed image.

    Raises:
        IntegrityError: Bytes of the release or of the base image do not have their digest.
        RefusedError: The base image has another environment than the one that the model was fitted in.
        ServiceError: A registry refuses or does not answer.
        UnsupportedError: The base image is not built for the release's architecture.
    """
    image = store.layout.read_json(_image_descriptor(store, release))
    release_config = store.layout.read_json(image["config"])
    layer = image["layers"][0]
    manifest = read_base_manifest(source, base.target, str(release_config["architecture"]))
    counts = _Counts()
    with tempfile.TemporaryDirectory(prefix="sluice-push-") as name:
        folder = Path(name)
        source.read_blob(manifest["config"], folder / "config")
        base_config = json.loads((folder / "config").read_text(encoding="utf-8"))
        if (serving := read_environment_label(base_config)) is not None:
            check_same_environment(images.read_manifest_label(release_config)["environment"]["fingerprint"], serving, str(base))
        config = plan_pushed_config(base_config, release_config)
        for each in manifest["layers"]:
            _copy_base_layer(each, registry, source, folder, counts)
        counts.add(layer, sent=registry.write_blob(layer, store.layout.require_blob(layer)))
        config_file = folder / "planned"
        config_file.write_bytes(write_json(config))
        digest, size = hash_file(config_file)
        config_descriptor = {"mediaType": images.CONFIG_TYPE, "digest": digest, "size": size}
        counts.add(config_descriptor, sent=registry.write_blob(config_descriptor, config_file))
        data = write_json(plan_pushed_manifest(manifest["layers"], config_descriptor, layer))
        (folder / "manifest").write_bytes(data)
        image_digest, _ = hash_file(folder / "manifest")
    for target in (image_digest, *tags):
        if registry.find_manifest(target) != image_digest:
            registry.write_manifest(target, data, MANIFEST_TYPE)
    return PushResult(f"{registry.host}/{registry.repository}@{image_digest}", tuple(tags), counts.sent, counts.reused)


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    reused: int = 0

    def add(self, descriptor: Descriptor, *, sent: bool) -> None:
        if sent:
            self.sent += int(descriptor["size"])
        else:
            self.reused += 1


def _image_descriptor(store: ReleaseStore, release: Release) -> Descriptor:
    found = images.find_releases(store.layout.read_index())
    return found[release.digest][0]


def _copy_base_layer(
    descriptor: Descriptor, registry: RegistryClient, source: RegistryClient, folder: Path, counts: _Counts
) -> None:
    """Copy one layer of the base image to the release's repository. If the registry can share it, no bytes are sent."""
    if registry.has_blob(descriptor["digest"]):
        counts.add(descriptor, sent=False)
        return
    if registry.host == source.host and registry.mount_blob(descriptor["digest"], source.repository):
        counts.add(descriptor, sent=False)
        return
    file = folder / "layer"
    source.read_blob(descriptor, file)
    counts.add(descriptor, sent=registry.write_blob(descriptor, file))
    file.unlink()
