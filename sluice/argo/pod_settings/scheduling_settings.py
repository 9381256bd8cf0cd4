"""The settings of kfp-kubernetes for node selectors and tolerations, which decide on which nodes a pod may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import constant_value
from sluice.argo.expressions.wire_json import Tag, from_wire
from sluice.argo.pod_settings.step_pods import has_tag

if TYPE_CHECKING:
    from sluice.argo.expressions.values import Value
    from sluice.argo.pod_settings.step_pods import Pod, Resolve
    from sluice.ir.graph import JSON

Raw = dict[str, Any]


def node_selector(pod: Pod, entry: Raw, resolve: Resolve) -> None:
    """Set the labels that a node must have."""
    labels: Any = entry.get("labels") or {}
    if entry.get("nodeSelectorJson"):
        labels = _json(resolve(entry["nodeSelectorJson"]))
    _set(pod, "nodeSelector", labels)


def tolerations(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set the tolerations of all calls together. If only the run knows one of them, the whole list goes into ``podSpecPatch``."""
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
        pod.patch["tolerations"] = Tag(_merged_tolerations(given))
        pod.config["tolerations"] = pod.patch["tolerations"]
        return
    _set(pod, "tolerations", given)


def _merged_tolerations(given: list[Any]) -> str:
    """Return an expression that merges tolerations into one list.

    A value that only the run knows can be one toleration, a list of tolerations, or null.
    """
    parts = []
    for each in given:
        text = f"fromJSON({each.expression if isinstance(each, Tag) else constant_value(each).expression})"
        parts.append(f"(type({text}) == 'array' ? {text} : {text} == nil ? [] : [{text}])")
    return f"toJson({parts[0] if len(parts) == 1 else 'concat(' + ', '.join(parts) + ')'})"


def _set(pod: Pod, key: str, value: JSON | Tag) -> None:
    if not value:
        return
    (pod.patch if has_tag(value) else pod.template)[key] = value
    pod.config[key] = value


def _json(value: Value) -> JSON | Tag:
    return from_wire(value.text) if value.is_constant else Tag(value.expression)
