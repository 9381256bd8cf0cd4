"""The table ``[trust]``: whose signatures a release needs before it takes traffic."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class TrustTable(Table):
    """``[trust]``: the public keys with which `sluice serve` and the controller verify a release before it takes traffic."""

    gate_keys: list[str] = Field(
        default=[],
        description="Files with public keys (PEM, Ed25519), relative to the project. One of them must have signed the gate's "
        "decision. If empty, no signature is required.",
    )
    provenance_keys: list[str] = Field(
        default=[],
        description="Files with public keys (PEM, Ed25519), relative to the project. One of them must have signed the "
        "provenance. If empty, no signature is required.",
    )
