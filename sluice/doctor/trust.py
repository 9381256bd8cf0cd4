"""Questions about the keys of ``[trust]``, and whether the private keys of this environment belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding
from sluice.errors import SluiceError
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import identify_key, read_signing_key
from sluice.rollout.verifications import read_trust_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.release.envelopes import PublicKey

SUBJECT = "signatures"
PAGE = "docs/how-to/signing.md"


def check_trust(project: Project) -> list[Finding]:
    """Return the findings about the keys with which a release is verified before it takes traffic."""
    try:
        keys = read_trust_keys(project)
        return [
            _check_keys("gate_keys", keys.gate, gate_statements.KEY_VARIABLE),
            _check_keys("provenance_keys", keys.provenance, provenance.KEY_VARIABLE),
        ]
    except SluiceError as error:
        return [Finding(SUBJECT, FAIL, error.message, error.hint)]


def _check_keys(name: str, keys: Sequence[PublicKey], variable: str) -> Finding:
    private = read_signing_key(variable)
    if not keys:
        text = f"trust.{name} is empty, so a release takes traffic without this signature"
        return Finding(SUBJECT, NOTE, text, f"Make keys, and name the public ones: {PAGE}.")
    if private is not None and identify_key(private.public_key()) not in {key.id for key in keys}:
        text = f"${variable} is not the private half of any key in trust.{name}, so what it signs is refused"
        return Finding(SUBJECT, FAIL, text, f"Add its public half to trust.{name}, or set another key: {PAGE}.")
    return Finding(SUBJECT, PASS, f"trust.{name} has {len(keys)} key{'s' if len(keys) > 1 else ''}")
