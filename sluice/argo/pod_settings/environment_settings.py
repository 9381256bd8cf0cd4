"""The settings of kfp-kubernetes that set environment variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.pod_settings.step_pods import resource_name, text_tag

if TYPE_CHECKING:
    from sluice.argo.expressions.values import Value
    from sluice.argo.pod_settings.step_pods import Pod, Resolve

Raw = dict[str, Any]


def secret_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set environment variables from the keys of secrets."""
    for entry in entries:
        name = resource_name(entry, "secretName", resolve)
        for pair in entry.get("keyToEnv", []) if name else []:
            _env_from(pod, pair["envVar"], "secretKeyRef", name, pair["secretKey"], entry)


def config_map_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set environment variables from the keys of config maps."""
    for entry in entries:
        name = resource_name(entry, "configMapName", resolve)
        for pair in entry.get("keyToEnv", []) if name else []:
            _env_from(pod, pair["envVar"], "configMapKeyRef", name, pair["configMapKey"], entry)


def _env_from(pod: Pod, variable: str, kind: str, name: Value | None, key: str, entry: Raw) -> None:
    if name is None:
        return
    reference: Raw = {"name": text_tag(name), "key": key}
    if "optional" in entry:
        reference["optional"] = bool(entry["optional"])
    _add_env(pod, {"name": variable, "valueFrom": {kind: reference}})


def field_path_as_env(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set environment variables from fields of the pod itself."""
    del resolve
    for entry in entries:
        _add_env(pod, {"name": entry["name"], "valueFrom": {"fieldRef": {"fieldPath": entry["fieldPath"]}}})


def _add_env(pod: Pod, entry: Raw) -> None:
    pod.env(entry)
    pod.config.setdefault("env", []).append(entry)
