"""The gate's signed answer: an in-toto statement that lets one model become a release, and its place in the release's manifest.

Only the gate's step has the key. The answer carries the envelope into the manifest, so that the release's digest covers it, and
no later step can change what it says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluice.release.envelopes import plan_statement, read_signing_key, sign_statement

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE = "SLUICE_GATE_KEY"
"""Environment variable with the path of the private key (PEM, Ed25519, no passphrase) that signs the gate's answers.

If it is not set, they are not signed.
"""

PREDICATE_TYPE = "urn:sluice:gate-decision:v1"

ENVELOPE = "envelope"
"""The key of the gate's answer that holds its envelope."""


def plan_gate_statement(
    answer: Mapping[str, Any], *, project: str, champion: str | None, holdout: str, at: float
) -> dict[str, Any]:
    """Return the statement about the model that the gate was asked about. The same question and answer give the same statement.

    Args:
        answer: The gate's public answer as plain JSON types: ``promote``, ``verdict`` with interval and threshold,
            ``ledger_head``, ``model``, ``scores``, ``override`` and the rest.
        project: The name of the project.
        champion: The digest of the champion that the model was compared with; None if there was none.
        holdout: The digest of the holdout.
        at: When the question was recorded in the ledger, in seconds since the epoch.
    """
    predicate = {
        "project": project,
        "champion": champion,
        "holdout": holdout,
        "time": datetime.fromtimestamp(at, UTC).isoformat(),
        "answer": read_answer(answer),
    }
    return plan_statement(PREDICATE_TYPE, [(f"{project}/model.joblib", str(answer["model"]))], predicate)


def sign_answer(answer: Mapping[str, Any], *, project: str, champion: str | None, holdout: str, at: float) -> dict[str, Any]:
    """Return the gate's answer with its envelope. If no key is configured, return the answer as it is.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    key = read_signing_key(KEY_VARIABLE)
    if key is None:
        return dict(answer)
    statement = plan_gate_statement(answer, project=project, champion=champion, holdout=holdout, at=at)
    return dict(answer) | {ENVELOPE: sign_statement(statement, key)}


def read_answer(gate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the gate's answer without its envelope."""
    return {key: value for key, value in gate.items() if key != ENVELOPE}


def is_overridden(manifest: Mapping[str, Any], now: float) -> bool:
    """Return whether a person let the model of this release pass the gate, with the scores that the gate judged, and still may.

    Args:
        manifest: The release's manifest, with the gate's answer.
        now: The time, in seconds since the epoch.
    """
    gate = manifest["gate"]
    override = gate.get("override") or {}
    if not override or override.get("scores") != gate.get("scores"):
        return False
    return bool(override.get("model") == manifest["model"]["digest"] and override["at"] <= now < override["until"])
