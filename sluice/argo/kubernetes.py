"""The settings of kfp-kubernetes (``KubernetesExecutorConfig``), one handler each, in a table.

Read from kubeflow/pipelines ``kubernetes_platform/proto/kubernetes_executor_config.proto``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sluice.argo.affinities import node_affinity, pod_affinity
from sluice.argo.pods import OWN, Pod, Resolve, has_tag, text_tag
from sluice.argo.wire import Tag, parse_json, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.argo.values import Value
    from sluice.ir.graph import JSON

Raw = dict[str, Any]
Handler = Callable[[Pod, Any, Resolve], None]


def apply_settings(pod: Pod, settings: Mapping[str, JSON], passthroughs: Mapping[str, bool], resolve: Resolve) -> list[str]:
    """Apply every setting of an executor to its pod.

    Args:
        pod: The pod.
        settings: The executor's settings as they are written.
        passthroughs: Fields that a ``dsl.TaskConfig`` input gets → whether the pod keeps them too.
        resolve: Turns an ``InputParameterSpec`` into a value inside the template.

    Returns:
        Names of settings that no handler knows, ``name.key`` for one of which it does not know everything.

    Raises:
        ValueError: A volume has a name that another one has, or may have.
    """
    unknown = []
    for name, value in settings.items():
        handler = HANDLERS.get(name)
        keys = {key for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict) for key in entry}
        unknown += [f"{name}.{key}" for key in sorted(keys - FIELDS[name])] if handler else [name]
        if handler and value:
            handler(_target(pod, name, passthroughs), value, resolve)
    own = [volume["name"] for volume in pod.template.get("volumes", ()) if volume["name"].startswith(OWN)]
    if own:
        raise ValueError(f"the volume {own[0]!r} has a name that begins like Sluice's own")
    return unknown


def _target(pod: Pod, name: str, passthroughs: Mapping[str, bool]) -> Pod:
    """The pod, or, where the field goes to the TaskConfig alone, another that only lends its fields."""
    passthrough = PASSTHROUGHS.get(name)
    if passthrough is None or passthrough not in passthroughs:
        return pod
    return pod if passthroughs[passthrough] else Pod(config=pod.config)


def _named(raw: Raw, key: str, resolve: Resolve) -> Value | None:
    """The name of a secret, config map or claim, from the new field or the old one; None where it is null."""
    spec = raw.get(f"{key}Parameter")
    value = resolve(spec) if spec else resolve({"runtimeValue": {"constant": raw.get(key)}})
    return None if value.is_null else value


def _secret_as_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    for entry in entries:
        name = _named(entry, "secretName", resolve)
        if name:
            _volume(pod, {"secret": {"secretName": text_tag(name), "optional": bool(entry.get("optional"))}}, entry)


def _config_map_as_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    for entry in entries:
        name = _named(entry, "configMapName", resolve)
        if name:
            _volume(pod, {"configMap": {"name": text_tag(name), "optional": bool(entry.get("optional"))}}, entry)


def _volume(pod: Pod, source: Raw, entry: Raw, name: str = "") -> None:
    kind = next(iter(source))
    named = name or f"{kind.lower()}-{len(pod.template.get('volumes', [])) + 1}"
    mount = {"name": named, "mountPath": entry["mountPath"]}
    if entry.get("subPath"):
        mount["subPath"] = entry["subPath"]
    volume = {"name": named, **source}
    pod.mount(volume, mount)
    pod.config.setdefault("volumes", []).append(volume)
    pod.config.setdefault("volumeMounts", []).append(mount)


def _secret_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    for entry in entries:
        name = _named(entry, "secretName", resolve)
        for pair in entry.get("keyToEnv", []) if name else []:
            _env_from(pod, pair["envVar"], "secretKeyRef", name, pair["secretKey"], entry)


def _config_map_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    for entry in entries:
        name = _named(entry, "configMapName", resolve)
        for pair in entry.get("keyToEnv", []) if name else []:
            _env_from(pod, pair["envVar"], "configMapKeyRef", name, pair["configMapKey"], entry)


def _env_from(pod: Pod, variable: str, kind: str, name: Value | None, key: str, entry: Raw) -> None:
    if name is None:
        return
    reference: Raw = {"name": text_tag(name), "key": key}
    if "optional" in entry:
        reference["optional"] = bool(entry["optional"])
    _add_env(pod, {"name": variable, "valueFrom": {kind: reference}})


def _field_path_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    del resolve
    for entry in entries:
        _add_env(pod, {"name": entry["name"], "valueFrom": {"fieldRef": {"fieldPath": entry["fieldPath"]}}})


def _add_env(pod: Pod, entry: Raw) -> None:
    pod.env(entry)
    pod.config.setdefault("env", []).append(entry)


def _pvc_mount(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    for entry in entries:
        old: Raw = {key: entry[key] for key in ("taskOutputParameter", "componentInputParameter") if key in entry}
        spec = entry.get("pvcNameParameter") or old or {"runtimeValue": {"constant": entry.get("constant")}}
        name = resolve(spec)
        if not name.is_null:
            _volume(pod, {"persistentVolumeClaim": {"claimName": text_tag(name)}}, entry)


def _ephemeral_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    del resolve
    for entry in entries:
        spec: Raw = {"accessModes": entry.get("accessModes", []), "resources": {"requests": {"storage": entry["size"]}}}
        if entry.get("storageClassName"):
            spec["storageClassName"] = entry["storageClassName"]
        claim: Raw = {"spec": spec}
        if entry.get("metadata"):
            claim["metadata"] = entry["metadata"]
        _volume(pod, {"ephemeral": {"volumeClaimTemplate": claim}}, entry, entry["volumeName"])


def _empty_dirs(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    del resolve
    for entry in entries:
        source = {name: entry[key] for key, name in (("medium", "medium"), ("sizeLimit", "sizeLimit")) if entry.get(key)}
        pod.mount(
            {"name": entry["volumeName"], "emptyDir": source}, {"name": entry["volumeName"], "mountPath": entry["mountPath"]}
        )


def _shared_memory(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    del resolve
    name = entry.get("volumeName") or "shm"
    source = {"medium": "Memory"} | ({"sizeLimit": entry["size"]} if entry.get("size") else {})
    pod.mount({"name": name, "emptyDir": source}, {"name": name, "mountPath": "/dev/shm"})  # noqa: S108 - the kernel's own place


def _node_selector(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    labels: Any = entry.get("labels") or {}
    if entry.get("nodeSelectorJson"):
        labels = _json(resolve(entry["nodeSelectorJson"]))
    _set(pod, "nodeSelector", labels)


def _tolerations(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    given: list[Any] = []
    for entry in entries:
        if entry.get("tolerationJson"):
            value = resolve(entry["tolerationJson"])
            if not value.is_constant:
                given.append(Tag(value.expression))
                continue
            known = _json(value)
            given += known if isinstance(known, list) else [known] if known else []
        else:
            names = {
                "key": "key",
                "operator": "operator",
                "value": "value",
                "effect": "effect",
                "tolerationSeconds": "tolerationSeconds",
            }
            given.append({names[key]: (int(v) if key == "tolerationSeconds" else v) for key, v in entry.items() if key in names})
    if any(isinstance(each, Tag) for each in given):
        pod.patch["tolerations"] = Tag(_joined_tolerations(given))
        pod.config["tolerations"] = pod.patch["tolerations"]
        return
    _set(pod, "tolerations", given)


def _joined_tolerations(given: list[Any]) -> str:
    """One list out of constants and of values that turn out to be one toleration, a list of them, or null."""
    from sluice.argo.values import constant  # noqa: PLC0415

    parts = []
    for each in given:
        text = f"fromJSON({each.expression if isinstance(each, Tag) else constant(each).expression})"
        parts.append(f"(type({text}) == 'array' ? {text} : {text} == nil ? [] : [{text}])")
    return f"toJson({parts[0] if len(parts) == 1 else 'concat(' + ', '.join(parts) + ')'})"


def _set(pod: Pod, key: str, value: JSON | Tag) -> None:
    if not value:
        return
    (pod.patch if has_tag(value) else pod.template)[key] = value
    pod.config[key] = value


def _json(value: Value) -> JSON | Tag:
    return parse_json(value.text) if value.is_constant else Tag(value.expression)


def _pod_metadata(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    del resolve
    metadata = pod.template.setdefault("metadata", {})
    for kind in ("labels", "annotations"):
        if entry.get(kind):
            metadata.setdefault(kind, {}).update({key: plain(value) for key, value in entry[kind].items()})


def _pull_secrets(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    names = [name for name in (_named(entry, "secretName", resolve) for entry in entries) if name]
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
                container[key] = [plain(part) for part in entry[key]]
        if entry.get("env"):
            container["env"] = [{"name": e["name"], "value": plain(e.get("value", ""))} for e in entry["env"]]
        if entry.get("volumeMounts"):
            container["volumeMounts"] = [{"name": m["volumeName"], "mountPath": m["mountPath"]} for m in entry["volumeMounts"]]
        containers.append(container)


HANDLERS: dict[str, Handler] = {
    "secretAsVolume": _secret_as_volume,
    "secretAsEnv": _secret_as_env,
    "pvcMount": _pvc_mount,
    "nodeSelector": _node_selector,
    "podMetadata": _pod_metadata,
    "imagePullSecret": _pull_secrets,
    "imagePullPolicy": _pull_policy,
    "configMapAsVolume": _config_map_as_volume,
    "configMapAsEnv": _config_map_as_env,
    "activeDeadlineSeconds": _deadline,
    "fieldPathAsEnv": _field_path_as_env,
    "tolerations": _tolerations,
    "genericEphemeralVolume": _ephemeral_volume,
    "nodeAffinity": node_affinity,
    "podAffinity": pod_affinity,
    "enabledSharedMemory": _shared_memory,
    "emptyDirMounts": _empty_dirs,
    "securityContext": _security_context,
    "initContainers": _init_containers,
}
"""Setting → what it does to the pod."""

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
"""Setting → what a handler reads of it, or does right without."""

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
"""Setting → field of a TaskConfig that it can be passed through to."""
