"""Give steps on KFP the Secrets that are theirs alone: the token of an account, and the private key of a step that signs.

KFP runs all steps of a pipeline as one account. So what only one step may have is in a Secret that the pod of this step mounts,
and the account of the run may not read the Secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import SIGNING_VARIABLES, find_table_key, is_impostor
from sluice.engines.ir_compilation import write_documents
from sluice.errors import UnsupportedError
from sluice.ir.documents import find_platforms, find_spec, load_documents
from sluice.kubernetes_calls import SIGNING_KEY, STEP_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.ir.graph import Pipeline
    from sluice.project.tables.pipelines.kfp import KfpTable


def add_secrets(text: str, pipeline: Pipeline, table: KfpTable) -> str:
    """Mount the Secrets that ``[kfp]`` names in the steps that use them.

    Args:
        text: The IR.
        pipeline: The same pipeline as a graph.
        table: ``[kfp]``. If it names no Secrets, the text stays as it is.

    Raises:
        UnsupportedError: A component has the name of one of Sluice's steps, and another body.
    """
    with_tokens = add_token_secrets(text, pipeline, table.token_secrets)
    return add_signing_secrets(with_tokens, pipeline, table.signing_secrets)


def add_token_secrets(text: str, pipeline: Pipeline, secrets: Mapping[str, str]) -> str:
    """Mount the Secrets with the tokens of accounts, by the names of components."""
    return _add_volumes(text, _choose(pipeline, secrets, "token_secrets"), str(STEP_ACCOUNT), {})


def add_signing_secrets(text: str, pipeline: Pipeline, secrets: Mapping[str, str]) -> str:
    """Mount the Secrets with the keys that sign, by the names of components, and name the key in the step's environment."""
    chosen = _choose(pipeline, secrets, "signing_secrets")
    variables = {name: SIGNING_VARIABLES[find_table_key(pipeline.components[name])] for name in chosen}
    return _add_volumes(text, chosen, str(SIGNING_KEY.parent), variables)


def _add_volumes(text: str, chosen: Mapping[str, str], folder: str, variables: Mapping[str, str]) -> str:
    """Mount the chosen Secrets, by the component's key in the IR, and set the variables to the path of the signing key."""
    if not chosen:
        return text
    documents = load_documents(text)
    spec = find_spec(documents)
    assert spec is not None  # noqa: S101 - the text was read as a pipeline before
    executors = _find_executors(documents)
    for name, secret in chosen.items():
        label = spec["components"][name]["executorLabel"]
        volumes = executors.setdefault(label, {}).setdefault("secretAsVolume", [])
        if not any(volume.get("mountPath") == folder for volume in volumes):
            volumes.append(_plan_volume(secret, folder))
        if name in variables:
            container = spec["deploymentSpec"]["executors"][label]["container"]
            others = [one for one in container.get("env") or [] if one["name"] != variables[name]]
            container["env"] = [*others, {"name": variables[name], "value": str(SIGNING_KEY)}]
    return write_documents(text, documents)


def _choose(pipeline: Pipeline, secrets: Mapping[str, str], table: str) -> dict[str, str]:
    """Return the Secret of each component that has one."""
    found = {}
    for name, component in pipeline.components.items():
        key = find_table_key(component)
        if key in secrets and is_impostor(component):
            raise UnsupportedError(
                f"the component {key} has the name of one of Sluice's steps, but its body does not call it, so it gets no token "
                "and no key",
                hint=f"Give the component another name, or remove {key} from [kfp.{table}] in sluice.toml.",
            )
        if secrets.get(key):
            found[name] = secrets[key]
    return found


def _find_executors(documents: list[Any]) -> dict[str, Any]:
    """Return the executors of the PlatformSpec for Kubernetes. If there is no PlatformSpec, one is added to the documents."""
    platforms = find_platforms(documents)
    if not platforms:
        documents.append({"platforms": platforms})
    found: dict[str, Any] = platforms.setdefault("kubernetes", {}).setdefault("deploymentSpec", {}).setdefault("executors", {})
    return found


def _plan_volume(secret: str, folder: str) -> dict[str, Any]:
    """Return the mount as kfp-kubernetes' `use_secret_as_volume` writes it."""
    return {
        "mountPath": folder,
        "optional": False,
        "secretName": secret,
        "secretNameParameter": {"runtimeValue": {"constant": secret}},
    }
