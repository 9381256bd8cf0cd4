"""Questions about the keys of ``[trust]``, and whether the private keys of this environment belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding
from sluice.errors import SluiceError
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import identify_key, read_signing_key
from sluice.rollout.verifications import read_trust_keys
from sluice.steps.before_training.keys import PAGE, check_gate_key, check_signing_key, list_unsigned_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.release.envelopes import PublicKey

SUBJECT = "signatures"


def check_trust(project: Project, *, engine: str = "local", requests: bool = True) -> list[Finding]:
    """Return the findings about the keys with which a release is verified before it takes traffic, and about the private ones.

    Args:
        project: The project.
        engine: ``local``, ``argo`` or ``kfp``. On a cluster's engine, the private keys are in Secrets, which the settings name.
        requests: Whether this account may request rollouts. If it may not, it needs no private key, and a missing one is a note.
    """
    try:
        keys = read_trust_keys(project)
        findings = [
            _check_keys("gate_keys", keys.gate, gate_statements.KEY_VARIABLE),
            _check_keys("provenance_keys", keys.provenance, provenance.KEY_VARIABLE),
        ]
        return findings + (
            _check_local_keys(project, FAIL if requests else NOTE) if engine == "local" else _check_secrets(project, engine)
        )
    except SluiceError as error:
        return [Finding(SUBJECT, FAIL, error.message, error.hint)]


def _check_local_keys(project: Project, outcome: str) -> list[Finding]:
    """Return a finding with this outcome for each private key without which a run on this machine stops before the training."""
    findings: list[Finding] = []
    for check in (check_gate_key, check_signing_key):
        try:
            check(project)
        except SluiceError as error:
            fix = f"{error.hint} A machine that only serves, requests or approves needs no private key."
            findings.append(Finding(SUBJECT, outcome, f"`sluice run` does not train: {error.message}", fix))
    return findings


def _check_secrets(project: Project, engine: str) -> list[Finding]:
    """Return a finding for each step that must sign and for which the settings of the engine name no Secret."""
    secrets = {"argo": project.settings.argo.signing_secrets, "kfp": project.settings.kfp.signing_secrets}[engine]
    return [
        Finding(
            SUBJECT,
            FAIL,
            f"{setting} requires that the step `{step}` signs, but {engine}.signing_secrets names no Secret for it",
            f"Make the Secret, and name it in sluice.toml: {PAGE}.",
        )
        for step, setting in list_unsigned_steps(project.settings, secrets).items()
    ]


def _check_keys(name: str, keys: Sequence[PublicKey], variable: str) -> Finding:
    private = read_signing_key(variable)
    if not keys:
        text = f"trust.{name} is empty, so a release takes traffic without this signature"
        return Finding(SUBJECT, NOTE, text, f"Make keys, and name the public ones: {PAGE}.")
    if private is not None and identify_key(private.public_key()) not in {key.id for key in keys}:
        text = f"${variable} is not the private half of any key in trust.{name}, so what it signs is refused"
        return Finding(SUBJECT, FAIL, text, f"Add its public half to trust.{name}, or set another key: {PAGE}.")
    return Finding(SUBJECT, PASS, f"trust.{name} has {len(keys)} key{'s' if len(keys) > 1 else ''}")
