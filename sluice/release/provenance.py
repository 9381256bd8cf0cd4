"""The provenance of a release: an in-toto statement that says how the release was made.

Format: SLSA provenance v1. `sluice.release.envelopes` signs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice import __version__
from sluice.release import envelopes
from sluice.release.envelopes import split_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTACHMENT_KIND = "provenance"
KEY_VARIABLE = "SLUICE_SIGNING_KEY"
"""Environment variable with the path of the private key (PEM, Ed25519, no passphrase) that signs each release when it is added,
and its image when it is pushed.

If it is not set, releases are not signed.
"""

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:sluice:release:v1"


def plan_statement(manifest: Mapping[str, Any], *, digest: str, image_digest: str) -> dict[str, Any]:
    """Return the in-toto statement of a release. Equal releases have equal statements.

    Args:
        manifest: The release's manifest.
        digest: The digest of its model layer.
        image_digest: The digest of its image.
    """
    project = manifest["project"]
    names = (
        (f"{project}/model-layer", digest),
        (f"{project}/image", image_digest),
        (f"{project}/model.joblib", manifest["model"]["digest"]),
    )
    return envelopes.plan_statement(
        PREDICATE_TYPE,
        names,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "project": project,
                    "build": manifest["model"]["build"],
                    "parameters": manifest["model"]["parameters"],
                    "dirty": manifest["code"]["dirty"],
                },
                "internalParameters": {
                    "fingerprint": manifest["environment"]["fingerprint"],
                    "gate": manifest["gate"],
                    "verdicts": manifest["verdicts"],
                },
                "resolvedDependencies": _list_dependencies(manifest),
            },
            "runDetails": {"builder": {"id": "urn:sluice:packaging", "version": {"sluice": __version__}}},
        },
    )


def sign_provenance(manifest: Mapping[str, Any], *, digest: str, image_digest: str) -> dict[str, Any]:
    """Return the provenance of a release as it is attached: signed if a key is configured.

    Args:
        manifest: The release's manifest.
        digest: The digest of its model layer.
        image_digest: The digest of its image.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    statement = plan_statement(manifest, digest=digest, image_digest=image_digest)
    return envelopes.sign_statement(statement, envelopes.read_signing_key(KEY_VARIABLE))


def _list_dependencies(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return commit, data, holdout, lock file and parent release, each with its digest."""
    digests = (
        ("urn:sluice:snapshot", manifest["data"]["snapshot_digest"]),
        ("urn:sluice:holdout", manifest["data"]["holdout_digest"]),
        ("urn:sluice:serving-lock", manifest["environment"]["lock_digest"]),
        ("urn:sluice:parent-release", manifest["parent"]),
    )
    code = [{"uri": "urn:sluice:code", "digest": {"gitCommit": manifest["code"]["commit"]}}] if manifest["code"]["commit"] else []
    return code + [{"uri": uri, "digest": split_digest(digest)} for uri, digest in digests if digest]
