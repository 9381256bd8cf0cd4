"""The provenance of a release: an in-toto statement that says how the release was made, and its signature.

Formats: in-toto attestation framework, Statement v1; SLSA provenance v1; DSSE v1.0 (secure-systems-lab/dsse). The signature
covers DSSE's pre-authentication encoding, so it is valid for one type of payload only. Keys are Ed25519 (RFC 8032) in PEM files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice import __version__
from sluice.errors import ConfigurationError, IntegrityError
from sluice.release.manifest import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ATTACHMENT_KIND = "provenance"
KEY_VARIABLE = "SLUICE_SIGNING_KEY"
"""Environment variable with the path of the private key (PEM, Ed25519, no passphrase) that signs each release when it is added.

If it is not set, releases are not signed.
"""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
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
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": _digest_set(value)} for name, value in names],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
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
    }


def sign_statement(statement: Mapping[str, Any], key: Path | None) -> dict[str, Any]:
    """Return the statement in a signed DSSE envelope. Without a key, return the statement unchanged.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    if key is None:
        return dict(statement)
    private = _read_private_key(key)
    payload = write_json(statement)
    signature = private.sign(encode_for_signing(PAYLOAD_TYPE, payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": _key_id(private.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def verify_envelope(document: Mapping[str, Any], key: Path) -> dict[str, Any]:
    """Verify the signature of an envelope, and return its statement.

    Args:
        document: The document that is attached to the release.
        key: The public key (PEM, Ed25519) that must have signed it.

    Raises:
        ConfigurationError: The key cannot be used.
        IntegrityError: The document is not signed, is signed with another key, or was changed.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where a key is configured

    public = _read_public_key(key)
    hint = "Do not roll the release out. To sign a release, set $SLUICE_SIGNING_KEY and package it."
    if "signatures" not in document:
        raise IntegrityError("the provenance is not signed", hint=hint)
    try:
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = [base64.b64decode(entry["sig"], validate=True) for entry in document["signatures"]]
        signed = encode_for_signing(str(document["payloadType"]), payload)
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"the provenance is not a DSSE envelope: {error}", hint=hint) from error
    for signature in signatures:
        try:
            public.verify(signature, signed)
        except InvalidSignature:
            continue
        if document["payloadType"] != PAYLOAD_TYPE:
            raise IntegrityError(f"the envelope contains {document['payloadType']!r} instead of an in-toto statement", hint=hint)
        return dict(json.loads(payload))
    raise IntegrityError(f"the provenance has no valid signature by the key {key}", hint=hint)


def read_statement(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement in an attached document without verifying a signature.

    Raises:
        IntegrityError: The document contains no statement.
    """
    if document.get("_type") == STATEMENT_TYPE:
        return dict(document)
    try:
        return dict(json.loads(base64.b64decode(document["payload"], validate=True)))
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"the provenance contains no in-toto statement: {error}", hint="Package the model again.") from error


def signing_key_path() -> Path | None:
    """Return the path of the private key from the environment variable, or None if it is not set."""
    name = os.environ.get(KEY_VARIABLE)
    return Path(name) if name else None


def encode_for_signing(payload_type: str, payload: bytes) -> bytes:
    r"""Return DSSE's pre-authentication encoding of a payload.

    >>> encode_for_signing("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def _list_dependencies(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return commit, data, holdout, lock file and parent release, each with its digest."""
    digests = (
        ("urn:sluice:snapshot", manifest["data"]["snapshot_digest"]),
        ("urn:sluice:holdout", manifest["data"]["holdout_digest"]),
        ("urn:sluice:serving-lock", manifest["environment"]["lock_digest"]),
        ("urn:sluice:parent-release", manifest["parent"]),
    )
    code = [{"uri": "urn:sluice:code", "digest": {"gitCommit": manifest["code"]["commit"]}}] if manifest["code"]["commit"] else []
    return code + [{"uri": uri, "digest": _digest_set(digest)} for uri, digest in digests if digest]


def _digest_set(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _key_id(key: Ed25519PublicKey) -> str:
    return "sha256:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _read_private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where a key is configured
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable_key(f"${KEY_VARIABLE} names {path}, which cannot be read as a private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable_key(f"${KEY_VARIABLE} names {path}, which is a {type(key).__name__} and not an Ed25519 private key")
    return key


def _read_public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where a key is configured
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _unusable_key(f"{path} cannot be read as a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable_key(f"{path} is a {type(key).__name__} and not an Ed25519 public key")
    return key


def _unusable_key(what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        hint="Make a key pair: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out key.pub.",
    )
