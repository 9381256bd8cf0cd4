"""Make images of the stand-in model without a builder: a Python image in the registry, and one layer with a script."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from sluice.release.registry.registry_client import RegistryClient
from sluice.scoring import faults

if TYPE_CHECKING:
    from sluice.release.registry.image_references import ImageReference

FILES = {
    "stand_in_model.py": Path(__file__).with_name("stand_in_model.py"),
    "sluice/scoring/faults.py": Path(faults.__file__),  # it needs only the standard library
}
"""The files in the image, which Python finds beside the script."""

_MANIFEST, _CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
_TAR_LAYER = "application/vnd.oci.image.layer.v1.tar"
_LAYER = f"{_TAR_LAYER}+gzip"


def push_model(base: ImageReference, to: ImageReference, *flags: str, mark: str = "", model_layer: bytes = b"") -> str:
    """Push an image that runs the stand-in model with these flags. Each `mark` makes another image.

    Args:
        base: An image with Python.
        to: The repository.
        flags: Flags of the stand-in model.
        mark: A label of the image.
        model_layer: The uncompressed tar of a release, which becomes the last layer; empty for none.

    Returns:
        The image's name by digest.
    """
    with (
        RegistryClient(base.host, base.repository, plain_http=True) as source,
        RegistryClient(to.host, to.repository, plain_http=True) as registry,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        manifest = _read_manifest(source, base.target)
        source.read_blob(manifest["config"], folder / "config")
        for each in manifest["layers"]:
            if not registry.has_blob(each["digest"]) and not registry.mount_blob(each["digest"], base.repository):
                source.read_blob(each, folder / "blob")
                registry.write_blob(each, folder / "blob")
        layer, unpacked = _make_layer()
        config = json.loads((folder / "config").read_text())
        config["config"] |= {
            "User": "8888:8888",
            "Cmd": ["python3", "-u", "/stand_in_model.py", *flags],
            "Labels": {"mark": mark},
        }
        config["rootfs"]["diff_ids"] += [_digest(one) for one in (unpacked, model_layer) if one]
        config.pop("history", None)
        blobs = [
            _write(registry, folder, json.dumps(config).encode(), _CONFIG),
            _write(registry, folder, layer, _LAYER),
            *([_write(registry, folder, model_layer, _TAR_LAYER)] if model_layer else []),
        ]
        planned = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": blobs[0], "layers": [*manifest["layers"], *blobs[1:]]}
        data = json.dumps(planned).encode()
        registry.write_manifest(_digest(data), data, _MANIFEST)
    return f"{to.host}/{to.repository}@{_digest(data)}"


def delete_image(image: str) -> None:
    """Delete an image from the registry.

    Raises:
        httpx.HTTPStatusError: The registry refused to delete it.
    """
    name, _, digest = image.partition("@")
    host, _, repository = name.partition("/")
    answer = httpx.delete(f"http://{host}/v2/{repository}/manifests/{digest}", timeout=10, trust_env=False)
    answer.raise_for_status()


def _read_manifest(source: RegistryClient, target: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(source.read_manifest(target)[0])
    if "manifests" in manifest:
        fitting = [one for one in manifest["manifests"] if one.get("platform", {}).get("os") == "linux"]
        manifest = json.loads(source.read_manifest(fitting[0]["digest"])[0])
    return manifest


def _make_layer() -> tuple[bytes, bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    return gzip.compress(buffer.getvalue(), mtime=0), buffer.getvalue()


def _write(registry: RegistryClient, folder: Path, data: bytes, kind: str) -> dict[str, Any]:
    descriptor = {"mediaType": kind, "digest": _digest(data), "size": len(data)}
    (folder / "written").write_bytes(data)
    registry.write_blob(descriptor, folder / "written")
    return descriptor


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
