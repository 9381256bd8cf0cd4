"""The signature of a message: HMAC-SHA256 (RFC 2104) over everything that says what the message means.

The signed text has one line for each of: the version, the time, the project, the audience, the client, the path, the idempotency
key and the SHA-256 of the body. No part that a client chooses can contain a line break, so two different messages never have the
same text. The project and the audience are not sent. The receiver fills in its own, so a message for another project or another
webhook has a wrong signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_HEADER, CLIENT_HEADER, SIGNATURE_HEADER = "sluice-timestamp", "sluice-client", "sluice-signature"
KEY_HEADER = "idempotency-key"

VERSION = "sluice-webhook-v1"
SCHEME = "v1="

CLIENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TIME = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v1=[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """A message, without the key that signs it.

    Attributes:
        time: Seconds since the epoch at which it was signed.
        project: Name of the project.
        audience: Name of the webhook.
        client: Name of the sender.
        path: Path of the request, for example ``/events/drift``.
        key: The idempotency key.
        body: The body, byte for byte.
    """

    time: int
    project: str
    audience: str
    client: str
    path: str
    key: str
    body: bytes

    @property
    def text(self) -> bytes:
        """What is signed."""
        digest = hashlib.sha256(self.body).hexdigest()
        parts = (VERSION, str(self.time), self.project, self.audience, self.client, self.path, self.key, digest)
        return "\n".join(parts).encode()


def sign(message: SignedMessage, secret: bytes) -> str:
    """Return the signature in the form of the header."""
    return SCHEME + hmac.new(secret, message.text, hashlib.sha256).hexdigest()


def is_signed(message: SignedMessage, signature: str, secrets: Sequence[bytes]) -> bool:
    """Return whether one of the secrets made the signature.

    Every secret is tried, and each comparison takes the same time whatever the signature is, so the time says nothing about them.

    Args:
        message: The message, with the receiver's own project and audience.
        signature: The header.
        secrets: The keys of the client. During a rotation there are two.
    """
    if not _SIGNATURE.fullmatch(signature):
        return False
    found = [hmac.compare_digest(sign(message, secret), signature) for secret in secrets]
    return any(found)


def make_headers(message: SignedMessage, secret: bytes) -> dict[str, str]:
    """Return the headers that a sender adds."""
    return {
        "Sluice-Timestamp": str(message.time),
        "Sluice-Client": message.client,
        "Idempotency-Key": message.key,
        "Sluice-Signature": sign(message, secret),
    }
