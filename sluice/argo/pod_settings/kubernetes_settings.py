"""The settings of kfp-kubernetes (``KubernetesExecutorConfig``), with one handler for each.

Source of the names and fields: kubeflow/pipelines ``kubernetes_platform/proto/kubernetes_executor_config.proto``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.wire_json import escape_tags
from sluice.argo.pod_settings.affinities import node_affinity, pod_affinity
from sluice.argo.pod_settings.environment_settings import config_map_as_env, field_path_as_env, secret_as_env
from sluice.argo.pod_settings.scheduling_settings import node_selector, tolerations
from sluice.argo.pod_settings.step_pods import OWN_PREFIX, Pod, Resolve, resource_name, text_tag
from sluice.argo.pod_settings.volume_settings import (
    config_map_as_volume,
    empty_dirs,
    ephemeral_volume,
    pvc_mount,
    secret_as_volume,
    shared_memory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.ir.graph import JSON

Raw = dict[str, Any]
Handler = Callable[[Pod, Any, Resolve], None]


def apply_settings(pod: Pod, settings: Mapping[str, JSON], passthroughs: Mapping[str, bool], resolve: Resolve) -> list[str]:
    """Apply every setting of an executor to its pod.

    Args:
        pod: The pod, which is changed.
        settings: The settings as the IR holds them.
        passthroughs: Fields that a ``dsl.TaskConfig`` input gets → whether the pod keeps them too.
        resolve: Function that turns an ``InputParameterSpec`` into a value inside the template.

    Returns:
        Names of the settings that have no handler, and ``name.key`` for each key that the handler of a setting does not know.

    Raises:
        ValueError: Two volumes have the same name, or a volume has a name that begins like the names of Sluice's own volumes.
    """
    unknown = []
    for name, value in settings.items():
        handler = HANDLERS.get(name)
        keys = {key for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict) for key in entry}
        unknown += [f"{name}.{key}" for key in sorted(keys - FIELDS[name])] if handler else [name]
        if handler and value:
            handler(_target(pod, name, passthroughs), value, resolve)
    own = [volume["name"] for volume in pod.template.get("volumes", ()) if volume["name"].startswith(OWN_PREFIX)]
    if own:
        raise ValueError(f"the name of the volume {own[0]!r} begins with {OWN_PREFIX!r}, which only Sluice's own volumes may use")
    return unknown


def _target(pod: Pod, name: str, passthroughs: Mapping[str, bool]) -> Pod:
    """Return the pod that a setting changes.

    If the setting goes only to a ``dsl.TaskConfig``, this is another pod that shares nothing but the `config` with the first.
    """
    passthrough = PASSTHROUGHS.get(name)
    if passthrough is None or passthrough not in passthroughs:
        return pod
    return pod if passthroughs[passthrough] else Pod(config=pod.config)


def _pod_metadata(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    del resolve
    metadata = pod.template.setdefault("metadata", {})
    for kind in ("labels", "annotations"):
        if entry.get(kind):
            metadata.setdefault(kind, {}).update({key: escape_tags(value) for key, value in entry[kind].items()})


def _pull_secrets(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    names = [name for name in (resource_name(entry, "secretName", resolve) for entry in entries) if name]
    if names:
        pod.patch["imagePullSecrets"] = [{"name": text_tag(name)} for name in names]


def _pull_policy(pod: Pod, policy: str, resolve: Resolve) -> None:
    del resolve
    pod.container["imagePullPolicy"] = policy


def _deadline(pod: Pod, seconds: str | int, resolve: Resolve) -> None:
    del resolve
    pod.template["activeDeadlineSeconds"] = int(seconds)


def _security_context(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    del resolve
    context = pod.container.setdefault("securityContext", {})
    for key in ("runAsUser", "runAsGroup", "runAsNonRoot"):
        if key in entry:
            context[key] = entry[key] if key == "runAsNonRoot" else int(entry[key])


def _init_containers(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    del resolve
    containers = pod.template.setdefault("initContainers", [])
    for entry in entries:
        container = {key: entry[key] for key in ("name", "image", "restartPolicy", "resources") if entry.get(key)}
        for key in ("command", "args"):
            if entry.get(key):
                container[key] = [escape_tags(part) for part in entry[key]]
        if entry.get("env"):
            container["env"] = [{"name": e["name"], "value": escape_tags(e.get("value", ""))} for e in entry["env"]]
        if entry.get("volumeMounts"):
            container["volumeMounts"] = [{"name": m["volumeName"], "mountPath": m["mountPath"]} for m in entry["volumeMounts"]]
        containers.append(container)


HANDLERS: dict[str, Handler] = {
    "secretAsVolume": secret_as_volume,
    "secretAsEnv": secret_as_env,
    "pvcMount": pvc_mount,
    "nodeSelector": node_selector,
    "podMetadata": _pod_metadata,
    "imagePullSecret": _pull_secrets,
    "imagePullPolicy": _pull_policy,
    "configMapAsVolume": config_map_as_volume,
    "configMapAsEnv": config_map_as_env,
    "activeDeadlineSeconds": _deadline,
    "fieldPathAsEnv": field_path_as_env,
    "tolerations": tolerations,
    "genericEphemeralVolume": ephemeral_volume,
    "nodeAffinity": node_affinity,
    "podAffinity": pod_affinity,
    "enabledSharedMemory": shared_memory,
    "emptyDirMounts": empty_dirs,
    "securityContext": _security_context,
    "initContainers": _init_containers,
}
"""Setting → the function that applies it to the pod."""

FIELDS = {
    name: frozenset(keys.split())
    for name, keys in {
        "secretAsVolume": "secretName secretNameParameter mountPath subPath optional",
        "secretAsEnv": "secretName secretNameParameter keyToEnv optional",
        "pvcMount": "pvcNameParameter taskOutputParameter componentInputParameter constant mountPath subPath",
        "nodeSelector": "labels nodeSelectorJson",
        "podMetadata": "labels annotations",
        "imagePullSecret": "secretName secretNameParameter",
        "imagePullPolicy": "",
        "configMapAsVolume": "configMapName configMapNameParameter mountPath subPath optional",
        "configMapAsEnv": "configMapName configMapNameParameter keyToEnv optional",
        "activeDeadlineSeconds": "",
        "fieldPathAsEnv": "name fieldPath",
        "tolerations": "key operator value effect tolerationSeconds tolerationJson",
        "genericEphemeralVolume": "volumeName mountPath subPath accessModes size defaultStorageClass storageClassName metadata",
        "nodeAffinity": "matchExpressions matchFields weight nodeAffinityJson",
        "podAffinity": "matchPodExpressions matchPodLabels topologyKey namespaces matchNamespaceExpressions matchNamespaceLabels "
        "weight anti",
        "enabledSharedMemory": "volumeName size",
        "emptyDirMounts": "volumeName mountPath medium sizeLimit",
        "securityContext": "runAsUser runAsGroup runAsNonRoot",
        "initContainers": "name image restartPolicy resources command args env volumeMounts",
    }.items()
}
"""Setting → the keys that its handler supports: it reads them, or they need no action."""

PASSTHROUGHS = {
    "secretAsVolume": "KUBERNETES_VOLUMES",
    "configMapAsVolume": "KUBERNETES_VOLUMES",
    "pvcMount": "KUBERNETES_VOLUMES",
    "genericEphemeralVolume": "KUBERNETES_VOLUMES",
    "secretAsEnv": "ENV",
    "configMapAsEnv": "ENV",
    "fieldPathAsEnv": "ENV",
    "nodeSelector": "KUBERNETES_NODE_SELECTOR",
    "tolerations": "KUBERNETES_TOLERATIONS",
    "nodeAffinity": "KUBERNETES_AFFINITY",
    "podAffinity": "KUBERNETES_AFFINITY",
}
"""Setting → the field of a ``dsl.TaskConfig`` that can receive it."""
