"""Images that are releases with signatures: the stand-in model, and a model layer whose manifest carries the gate's decision."""

from __future__ import annotations

import json
import tempfile
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_project import Signer
from stand_in_images import push_model

from sluice.release import provenance
from sluice.release.model_layer import MANIFEST_FILE, MODEL_FILE, write_layer
from sluice.release.registry.image_references import read_image_reference
from sluice.release.registry.referrers import attach_document
from sluice.release.registry.registry_client import RegistryClient

if TYPE_CHECKING:
    import pytest
    from rollout_namespaces import RolloutNamespace


@dataclass(frozen=True)
class SignedReleases:
    """Makes releases of one project.

    Attributes:
        namespace: The namespace, which says where images are pushed.
        signer: Signs as the gate and as the packaging do.
    """

    namespace: RolloutNamespace
    signer: Signer

    def make(self, *, forged: str = "") -> tuple[str, str]:
        """Push a new release, and return its digest and its image.

        Args:
            forged: What is wrong with its signatures: ``no gate``, ``kept`` (the gate did not promote it), ``other model``,
                ``no provenance``; empty if nothing is.
        """
        model = uuid.uuid4().bytes
        digest = f"sha256:{sha256(model).hexdigest()}"
        asked = f"sha256:{'0' * 64}" if forged == "other model" else digest
        gate = self.signer.sign_gate(asked, promote=forged != "kept")
        manifest = self.signer.plan_manifest(digest, {"promote": True} if forged == "no gate" else gate)
        with tempfile.TemporaryDirectory() as name:
            folder, layer = Path(name) / "layer", Path(name) / "layer.tar"
            folder.mkdir()
            (folder / MODEL_FILE).write_bytes(model)
            (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
            release = write_layer(folder, layer)
            image = self._push(layer.read_bytes())
        if forged != "no provenance":
            self._attach(manifest, release, image)
        return release, image

    def _push(self, layer: bytes) -> str:
        base, to = read_image_reference(self.namespace.python_image), read_image_reference(self.namespace.repository)
        return push_model(base, to, model_layer=layer)

    def _attach(self, manifest: dict[str, Any], release: str, image: str) -> None:
        named = read_image_reference(image)
        with self.signer.packaging():
            document = provenance.sign_provenance(manifest, digest=release, image_digest=named.target)
        with RegistryClient(named.host, named.repository, plain_http=True) as registry:
            subject = registry.describe(*registry.read_manifest(named.target))
            attach_document(registry, subject, provenance.ATTACHMENT_KIND, document)


def make_signer(folder: Path, project: str, patch: pytest.MonkeyPatch) -> Signer:
    """Return a signer with new keys, whose files are in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Signer(folder, project, patch)
