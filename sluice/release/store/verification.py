"""A release read again, byte by byte: each blob against its digest, and all of them against each other."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError
from sluice.release import provenance
from sluice.release.layer import LAYER_ROOT, MANIFEST_FILE
from sluice.release.store import images
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sluice.release.store.layout import Descriptor, Layout


def read_layer_manifest(blob: Path) -> dict[str, Any]:
    """The release's manifest inside a layer's tar.

    Raises:
        IntegrityError: There is none, or it lacks what makes a manifest.
    """
    try:
        with tarfile.open(blob) as archive:
            content = archive.extractfile(f"{LAYER_ROOT}/{MANIFEST_FILE}")
            if content is None:
                raise KeyError(MANIFEST_FILE)
            manifest = json.load(content)
        _ = (manifest["project"], manifest["code"]["commit"], manifest["model"]["digest"], manifest["environment"]["fingerprint"])
    except (tarfile.TarError, OSError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the folder is no model layer: its {MANIFEST_FILE} cannot be read: {type(error).__name__}: {error}",
            hint="Add what `sluice run` or `sluice release build` packages.",
        ) from error
    return dict(manifest)


def verify_release(layout: Layout, index: Mapping[str, Any], digest: str, *, key: Path | None) -> list[Verdict]:
    """Verdicts on every blob of a release, on how they fit together, and with a key on the signature of its provenance.

    Args:
        layout: Where the blobs are.
        index: Its index.
        digest: The release; it is in the index.
        key: Public key that must have signed; None asks for no signature.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    descriptors = images.find_releases(index)[digest]
    name = min(images.tags_of(descriptors), key=lambda tag: not tag.startswith("release-"))
    blobs = list(_list_blobs(layout, index, digest, descriptors[0]))
    faults = [(what, descriptor, layout.check_blob(descriptor)) for what, descriptor in blobs]
    verdicts = [
        _judge(f"{name}/{what}", fault, f"{descriptor['digest']}, {descriptor.get('size', 0):,} bytes")
        for what, descriptor, fault in faults
    ]
    if any(verdict.failed for verdict in verdicts):
        return verdicts
    binding = _check_binding(layout, digest, descriptors[0])
    verdicts.append(_judge(f"{name}/binding", binding, "image, layer and manifest name each other"))
    if key is not None:
        verdicts.append(_judge(f"{name}/signature", _check_signature(layout, index, digest, key), f"signed by the key {key}"))
    return verdicts


def _list_blobs(layout: Layout, index: Mapping[str, Any], digest: str, image: Descriptor) -> Iterator[tuple[str, Descriptor]]:
    """Every blob by name; where a document is damaged, what it would name is left out, but never the layer."""
    yield "image", image
    layers: list[Descriptor] = [{"digest": digest}]
    if not layout.check_blob(image):
        manifest = layout.read_json(image)
        layers = manifest["layers"]
        yield "configuration", manifest["config"]
    yield from (("layer", layer) for layer in layers)
    for attachment in images.find_attachments(index, digest):
        kind = images.read_attachment_kind(attachment["artifactType"])
        yield f"{kind}-referrer", attachment
        if not layout.check_blob(attachment):
            yield from ((kind, blob) for blob in layout.read_json(attachment)["layers"])


def _check_binding(layout: Layout, digest: str, image: Descriptor) -> str:
    """How image, configuration and layer disagree, one sentence; empty when they do not."""
    try:
        manifest = layout.read_json(image)
        if [layer["digest"] for layer in manifest["layers"]] != [digest]:
            return f"the image's layer is not {digest}, which the index names"
        config = layout.read_json(manifest["config"])
        if config["rootfs"]["diff_ids"] != [digest]:
            return "the configuration's diff_ids name another layer"
        if images.read_manifest_label(config) != read_layer_manifest(layout.blob_path(digest)):
            return "the manifest in the image's labels is not the one in the layer"
    except (IntegrityError, LookupError, TypeError) as error:
        return f"the release's documents cannot be read: {error}"
    return ""


def _check_signature(layout: Layout, index: Mapping[str, Any], digest: str, key: Path) -> str:
    """What is wrong with the signature, one sentence; empty when an attached provenance is signed and about this release."""
    attached = [item for item in images.find_attachments(index, digest) if _kind(item) == provenance.KIND]
    fault = "it has no provenance"
    for descriptor in attached:
        try:
            statement = provenance.open_envelope(layout.read_json(layout.read_json(descriptor)["layers"][0]), key)
        except IntegrityError as error:
            fault = error.message
            continue
        subjects = [f"sha256:{subject['digest'].get('sha256')}" for subject in statement.get("subject", [])]
        if digest in subjects:
            return ""
        fault = "the signed provenance is about another release"
    return fault


def _kind(descriptor: Descriptor) -> str:
    return images.read_attachment_kind(descriptor["artifactType"])


def _judge(check: str, fault: str, detail: str) -> Verdict:
    return Verdict(check=check, outcome=Outcome.FAIL if fault else Outcome.PASS, detail=fault or detail)
