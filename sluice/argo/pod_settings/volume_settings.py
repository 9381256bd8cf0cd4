"""The settings of kfp-kubernetes that mount volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.pod_settings.step_pods import resource_name, text_tag

if TYPE_CHECKING:
    from sluice.argo.pod_settings.step_pods import Pod, Resolve

Raw = dict[str, Any]


def secret_as_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Mount secrets as volumes."""
    for entry in entries:
        name = resource_name(entry, "secretName", resolve)
        if name:
            _volume(pod, {"secret": {"secretName": text_tag(name), "optional": bool(entry.get("optional"))}}, entry)


def config_map_as_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Mount config maps as volumes."""
    for entry in entries:
        name = resource_name(entry, "configMapName", resolve)
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


def pvc_mount(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Mount PersistentVolumeClaims. A claim whose name is null is left out."""
    for entry in entries:
        old: Raw = {key: entry[key] for key in ("taskOutputParameter", "componentInputParameter") if key in entry}
        spec = entry.get("pvcNameParameter") or old or {"runtimeValue": {"constant": entry.get("constant")}}
        name = resolve(spec)
        if not name.is_null:
            _volume(pod, {"persistentVolumeClaim": {"claimName": text_tag(name)}}, entry)


def ephemeral_volume(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Mount ephemeral volumes: claims that Kubernetes creates and deletes with the pod."""
    del resolve
    for entry in entries:
        spec: Raw = {"accessModes": entry.get("accessModes", []), "resources": {"requests": {"storage": entry["size"]}}}
        if entry.get("storageClassName"):
            spec["storageClassName"] = entry["storageClassName"]
        claim: Raw = {"spec": spec}
        if entry.get("metadata"):
            claim["metadata"] = entry["metadata"]
        _volume(pod, {"ephemeral": {"volumeClaimTemplate": claim}}, entry, entry["volumeName"])


def empty_dirs(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Mount emptyDir volumes."""
    del resolve
    for entry in entries:
        source = {name: entry[key] for key, name in (("medium", "medium"), ("sizeLimit", "sizeLimit")) if entry.get(key)}
        pod.mount(
            {"name": entry["volumeName"], "emptyDir": source}, {"name": entry["volumeName"], "mountPath": entry["mountPath"]}
        )


def shared_memory(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    """Mount a volume in memory at ``/dev/shm``."""
    del resolve
    name = entry.get("volumeName") or "shm"
    source = {"medium": "Memory"} | ({"sizeLimit": entry["size"]} if entry.get("size") else {})
    pod.mount({"name": name, "emptyDir": source}, {"name": name, "mountPath": "/dev/shm"})  # noqa: S108 - the path that the kernel uses
