"""Signed statements: an in-toto statement in a DSSE envelope, and the keys that sign and verify it.

Formats: in-toto attestation framework, Statement v1; DSSE v1.0 (secure-systems-lab/dsse). The signature covers DSSE's
pre-authentication encoding, so it is valid for one type of payload only. Keys are Ed25519 (RFC 8032) in PEM files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError, IntegrityError
from sluice.release.manifest import write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_HINT = "Do not roll the release out. docs/how-to/signing.md says which keys sign what."


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures.

    Attributes:
        file: The file that it was read from.
        id: ``sha256:`` and the SHA-256 of its raw bytes. An envelope names it, which is a hint for people and proves nothing.
        key: The key.
    """

    file: Path
    id: str
    key: Ed25519PublicKey


def plan_statement(predicate_type: str, subjects: Iterable[tuple[str, str]], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return an in-toto statement.

    Args:
        predicate_type: What kind of statement it is.
        subjects: Name and digest of each thing that it is about.
        predicate: What it says about them.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": split_digest(digest)} for name, digest in subjects],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def sign_statement(statement: Mapping[str, Any], key: Ed25519PrivateKey | None) -> dict[str, Any]:
    """Return the statement in a signed DSSE envelope. Without a key, return the statement unchanged.

    Ed25519 needs no random numbers, so the same statement and key always give the same envelope.
    """
    if key is None:
        return dict(statement)
    payload = write_json(statement)
    signature = key.sign(encode_for_signing(PAYLOAD_TYPE, payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": identify_key(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def verify_envelope(document: object, keys: Sequence[PublicKey], what: str) -> dict[str, Any]:
    """Verify that one of the keys has signed an envelope, and return its statement.

    Args:
        document: The document. Others wrote it, so it may contain anything.
        keys: The public keys. Several are allowed, so that a key can be replaced.
        what: What the document should be, for the message.

    Raises:
        IntegrityError: The document is not signed, is signed with another key, was changed, or contains no in-toto statement.
    """
    if not isinstance(document, dict) or not document.get("signatures"):
        raise IntegrityError(f"{what} is not signed", hint=_HINT)
    try:
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = [(base64.b64decode(one["sig"], validate=True), str(one.get("keyid"))) for one in document["signatures"]]
        signed = encode_for_signing(str(document["payloadType"]), payload)
    except (AttributeError, LookupError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{what} is not a DSSE envelope: {error}", hint=_HINT) from error
    if not any(_is_valid(key, signature, signed) for key in keys for signature, _ in signatures):
        raise IntegrityError(f"{what} {_describe_invalid([name for _, name in signatures], keys)}", hint=_HINT)
    if document["payloadType"] != PAYLOAD_TYPE:
        raise IntegrityError(f"{what} contains {document['payloadType']!r} instead of an in-toto statement", hint=_HINT)
    return read_statement(document, what)


def read_statement(document: Mapping[str, Any], what: str = "the provenance") -> dict[str, Any]:
    """Return the statement in an attached document without verifying a signature.

    Raises:
        IntegrityError: The document contains no statement.
    """
    if document.get("_type") == STATEMENT_TYPE:
        return dict(document)
    try:
        statement = dict(json.loads(base64.b64decode(document["payload"], validate=True)))
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"{what} contains no in-toto statement: {error}", hint="Package the model again.") from error
    if statement.get("_type") != STATEMENT_TYPE:
        raise IntegrityError(f"{what} contains no in-toto statement", hint="Package the model again.")
    return statement


def list_subjects(statement: Mapping[str, Any]) -> set[str]:
    """Return the digests that a statement is about, ``sha256:…``. What is not a digest is left out."""
    subjects = statement.get("subject")
    digests = [one.get("digest") for one in subjects if isinstance(one, dict)] if isinstance(subjects, list) else []
    return {f"sha256:{one['sha256']}" for one in digests if isinstance(one, dict) and isinstance(one.get("sha256"), str)}


def read_signing_key(variable: str) -> Ed25519PrivateKey | None:
    """Read the private key (PEM, Ed25519, no passphrase) that an environment variable names; None if the variable is not set.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    name = os.environ.get(variable)
    if not name:
        return None
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where a key is configured
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable_key(f"${variable} names {name}, which cannot be read as a private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable_key(f"${variable} names {name}, which is a {type(key).__name__} and not an Ed25519 private key")
    return key


def read_public_keys(files: Iterable[Path]) -> tuple[PublicKey, ...]:
    """Read public keys (PEM, Ed25519).

    Raises:
        ConfigurationError: A key cannot be used.
    """
    return tuple(_read_public_key(file) for file in files)


def identify_key(key: Ed25519PublicKey) -> str:
    """Return ``sha256:`` and the SHA-256 of a key's raw bytes."""
    return "sha256:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def encode_for_signing(payload_type: str, payload: bytes) -> bytes:
    r"""Return DSSE's pre-authentication encoding of a payload.

    >>> encode_for_signing("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def split_digest(digest: str) -> dict[str, str]:
    """Return a digest as in-toto writes it: algorithm → digits."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _is_valid(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where a key is configured

    try:
        key.key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _describe_invalid(named: Sequence[str], keys: Sequence[PublicKey]) -> str:
    """Say why no signature is valid. The id of the key is only a hint, so a valid signature never depends on it."""
    own = next((key for key in keys if key.id in named), None)
    if own is not None:
        return f"was changed after it was signed: the signature by the key {own.file} is not valid"
    files = ", ".join(str(key.file) for key in keys)
    return f"has no valid signature by the key{'s' if len(keys) > 1 else ''} {files}: another key signed it"


def _read_public_key(file: Path) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only where a key is configured
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _unusable_key(f"{file} cannot be read as a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable_key(f"{file} is a {type(key).__name__} and not an Ed25519 public key")
    return PublicKey(file, identify_key(key), key)


def _unusable_key(what: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        hint="Make a key pair: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out key.pub.",
    )
