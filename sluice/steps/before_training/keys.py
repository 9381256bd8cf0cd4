"""The private keys that sign the gate's decision and the provenance. A missing one is found before a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import ConfigurationError
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import read_signing_key

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.project.settings import Settings

PAGE = "docs/how-to/signing.md"


def check_gate_key(project: Project) -> None:
    """Check before a question is spent that the answer can be signed if a signature is required.

    Raises:
        ConfigurationError: The key is missing or cannot be used.
    """
    key = read_signing_key(gate_statements.KEY_VARIABLE)
    if key is None and project.settings.trust.gate_keys:
        raise ConfigurationError(
            f"trust.gate_keys requires that the gate signs its decisions, but ${gate_statements.KEY_VARIABLE} is not set",
            hint=f"Set ${gate_statements.KEY_VARIABLE} to the gate's private key. {PAGE} says how, also for Argo and KFP.",
        )


def check_signing_key(project: Project) -> None:
    """Check before anything is stored that the provenance can be signed if a signature is required.

    Raises:
        ConfigurationError: The key is missing or cannot be used.
    """
    if read_signing_key(provenance.KEY_VARIABLE) is None and project.settings.trust.provenance_keys:
        raise ConfigurationError(
            f"trust.provenance_keys requires that packaging signs the provenance, but ${provenance.KEY_VARIABLE} is not set",
            hint=f"Set ${provenance.KEY_VARIABLE} to the private key. {PAGE} says how, also for Argo and KFP.",
        )


def check_signing_secrets(project: Project) -> None:
    """Check in a pod that the settings name the Secrets of the keys. Only the later steps have the keys themselves.

    Raises:
        ConfigurationError: A signature is required, and no setting says where the step finds its private key.
    """
    if not project.ephemeral:
        return
    settings = project.settings
    named = {**settings.argo.signing_secrets, **settings.kfp.signing_secrets}
    for step, setting in list_unsigned_steps(settings, named).items():
        raise ConfigurationError(
            f"{setting} requires that the step `{step}` signs, but argo.signing_secrets and kfp.signing_secrets name no Secret",
            hint=f"Make the Secret, and name it in sluice.toml. {PAGE} says how.",
        )


def list_unsigned_steps(settings: Settings, secrets: dict[str, str]) -> dict[str, str]:
    """Return each step that must sign and has no private key: step → the setting that requires its signature.

    Args:
        settings: The settings. ``steps.env`` may also name the file of a key, which the pipeline mounts itself.
        secrets: The Secret of each step that has one.
    """
    required = {
        "gate": ("trust.gate_keys", settings.trust.gate_keys, gate_statements.KEY_VARIABLE),
        "package": ("trust.provenance_keys", settings.trust.provenance_keys, provenance.KEY_VARIABLE),
    }
    return {
        step: setting
        for step, (setting, keys, variable) in required.items()
        if keys and not secrets.get(step) and not settings.steps.env.get(variable)
    }
