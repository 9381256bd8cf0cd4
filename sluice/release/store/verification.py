"""Check a stored release byte by byte: each blob against its digest, and the documents against each other."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError
from sluice.release import provenance
from sluice.release.envelopes import list_subjects, read_public_keys, verify_envelope
from sluice.release.model_layer import LAYER_ROOT, MANIFEST_FILE
from sluice.release.store import images
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sluice.release.store.layout import Descriptor, Layout


def read_layer_manifest(blob: Path) -> dict[str, Any]:
    """Read the release's manifest from a model layer's tar.

    Raises:
        IntegrityError: The tar contains no manifest, or the manifest lacks required entries.
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
            f"the folder is not a model layer, because its {MANIFEST_FILE} cannot be read: {type(error).__name__}: {error}",
            hint="Use a folder that `sluice run` or `sluice release build` has packaged.",
        ) from error
    return dict(manifest)


def verify_release(layout: Layout, index: Mapping[str, Any], digest: str, *, key: Path | None) -> list[Verdict]:
    """Return one verdict for each blob of a release, one on whether the documents agree, and with a key one on the signature.

    If a blob is damaged, the last two are left out.

    Args:
        layout: The layout with the blobs.
        index: The layout's index.
        digest: The digest of a release in the index.
        key: The public key that must have signed the provenance. With None, no signature is required.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    descriptors = images.find_releases(index)[digest]
    name = min(images.tags_of(descriptors), key=lambda tag: not tag.startswith("release-"))
    blobs = list(_list_blobs(layout, index, digest, descriptors[0]))
    faults = [(what, descriptor, layout.check_blob(descriptor)) for what, descriptor in blobs]
    verdicts = [
        _make_verdict(f"{name}/{what}", fault, f"{descriptor['digest']}, {descriptor.get('size', 0):,} bytes")
        for what, descriptor, fault in faults
    ]
    if any(verdict.failed for verdict in verdicts):
        return verdicts
    binding = _check_binding(layout, digest, descriptors[0])
    verdicts.append(_make_verdict(f"{name}/binding", binding, "image, layer and manifest refer to each other"))
    if key is not None:
        signature = _check_signature(layout, index, digest, key)
        verdicts.append(_make_verdict(f"{name}/signature", signature, f"the provenance is signed by the key {key}"))
    return verdicts


def _list_blobs(layout: Layout, index: Mapping[str, Any], digest: str, image: Descriptor) -> Iterator[tuple[str, Descriptor]]:
    """Yield every blob with a name. If a document is damaged, the blobs that it refers to are left out, except the layer."""
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
    """Say in one sentence how image, configuration and layer disagree; return an empty text if they agree."""
    try:
        manifest = layout.read_json(image)
        if [layer["digest"] for layer in manifest["layers"]] != [digest]:
            return f"the image's layer is not {digest}, which the index names"
        config = layout.read_json(manifest["config"])
        if config["rootfs"]["diff_ids"] != [digest]:
            return "the configuration's diff_ids name another layer"
        if images.read_manifest_label(config) != read_layer_manifest(layout.blob_path(digest)):
            return "the manifest in the image's labels differs from the manifest in the layer"
    except (IntegrityError, LookupError, TypeError) as error:
        return f"the release's documents cannot be read: {error}"
    return ""


def _check_signature(layout: Layout, index: Mapping[str, Any], digest: str, key: Path) -> str:
    """Say in one sentence what is wrong with the signature.

    Return an empty text if an attached provenance has a valid signature and is about this release.
    """
    attached = [item for item in images.find_attachments(index, digest) if _kind(item) == provenance.ATTACHMENT_KIND]
    keys, fault = read_public_keys([key]), "the release has no provenance"
    for descriptor in attached:
        try:
            document = layout.read_json(layout.read_json(descriptor)["layers"][0])
            statement = verify_envelope(document, keys, "the provenance")
        except IntegrityError as error:
            fault = error.message
            continue
        if statement.get("predicateType") == provenance.PREDICATE_TYPE and digest in list_subjects(statement):
            return ""
        fault = "the signed provenance is about another release"
    return fault


def _kind(descriptor: Descriptor) -> str:
    return images.read_attachment_kind(descriptor["artifactType"])


def _make_verdict(check: str, fault: str, detail: str) -> Verdict:
    return Verdict(check=check, outcome=Outcome.FAIL if fault else Outcome.PASS, detail=fault or detail)
