"""Give steps on KFP the tokens of accounts of their own.

KFP runs all steps of a pipeline as one account. So the token of a step's own account is in a Secret that the pod of this step
mounts, and the account of the run may not read the Secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import find_table_key, is_impostor
from sluice.engines.ir_compilation import write_documents
from sluice.errors import UnsupportedError
from sluice.ir.documents import find_platforms, find_spec, load_documents
from sluice.kubernetes_calls import STEP_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.ir.graph import Pipeline


def add_token_secrets(text: str, pipeline: Pipeline, secrets: Mapping[str, str]) -> str:
    """Mount the Secrets with the tokens of accounts in the steps that use them.

    Args:
        text: The IR.
        pipeline: The same pipeline as a graph.
        secrets: Name of a component → name of the Secret. If there are none, the text stays as it is.

    Raises:
        UnsupportedError: A component has the name of one of Sluice's steps, and another body.
    """
    chosen = {name: _find_secret(pipeline, name, secrets) for name in pipeline.components}
    mounted = {name: secret for name, secret in chosen.items() if secret}
    if not mounted:
        return text
    documents = load_documents(text)
    spec = find_spec(documents)
    assert spec is not None  # noqa: S101 - the text was read as a pipeline before
    executors = _find_executors(documents)
    for name, secret in mounted.items():
        label = spec["components"][name]["executorLabel"]
        volumes = executors.setdefault(label, {}).setdefault("secretAsVolume", [])
        if not any(volume.get("mountPath") == str(STEP_ACCOUNT) for volume in volumes):
            volumes.append(_plan_volume(secret))
    return write_documents(text, documents)


def _find_secret(pipeline: Pipeline, name: str, secrets: Mapping[str, str]) -> str:
    component = pipeline.components[name]
    key = find_table_key(component)
    if key in secrets and is_impostor(component):
        raise UnsupportedError(
            f"the component {key} has the name of one of Sluice's steps, but its body does not call it, so it gets no token",
            hint=f"Give the component another name, or remove {key} from [kfp.token_secrets] in sluice.toml.",
        )
    return secrets.get(key, "")


def _find_executors(documents: list[Any]) -> dict[str, Any]:
    """Return the executors of the PlatformSpec for Kubernetes. If there is no PlatformSpec, one is added to the documents."""
    platforms = find_platforms(documents)
    if not platforms:
        documents.append({"platforms": platforms})
    found: dict[str, Any] = platforms.setdefault("kubernetes", {}).setdefault("deploymentSpec", {}).setdefault("executors", {})
    return found


def _plan_volume(secret: str) -> dict[str, Any]:
    """Return the mount as kfp-kubernetes' `use_secret_as_volume` writes it."""
    return {
        "mountPath": str(STEP_ACCOUNT),
        "optional": False,
        "secretName": secret,
        "secretNameParameter": {"runtimeValue": {"constant": secret}},
    }
