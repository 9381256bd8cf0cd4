"""The settings of kfp-kubernetes for node and pod affinities.

The terms of all calls are merged into one affinity, as KFP's driver does it (``k8s.go``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import constant_value
from sluice.argo.expressions.wire_json import Tag, from_wire
from sluice.argo.pod_settings.step_pods import has_tag

if TYPE_CHECKING:
    from sluice.argo.pod_settings.step_pods import Pod, Resolve
    from sluice.ir.graph import JSON

Raw = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def node_affinity(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set the node affinity: on which nodes the pod may run.

    An entry holds terms, or JSON that is known when compiling, or JSON that only the run knows.
    """
    required: list[Any] = []
    preferred: list[Any] = []
    dynamic: list[str] = []
    for entry in entries:
        if entry.get("nodeAffinityJson"):
            value = resolve(entry["nodeAffinityJson"])
            if not value.is_constant:
                dynamic.append(value.expression)
                continue
            known: Any = from_wire(value.text) or {}
            required += (known.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
            preferred += known.get(_PREFERRED) or []
        elif term := {key: entry[key] for key in ("matchExpressions", "matchFields") if entry.get(key)}:
            weighted = {"weight": int(entry["weight"]), "preference": term} if "weight" in entry else None
            (preferred if weighted else required).append(weighted or term)
    if len(dynamic) == 1 and not required and not preferred:
        _merge(pod, "nodeAffinity", Tag(dynamic[0]))
    elif dynamic:
        _merge(pod, "nodeAffinity", Tag(_merged_in_run(required, preferred, dynamic)))
    elif required or preferred:
        _merge(pod, "nodeAffinity", _terms(required, preferred, "nodeSelectorTerms"))


def _merged_in_run(required: list[Any], preferred: list[Any], dynamic: list[str]) -> str:
    """Return an expression that merges known terms and JSON texts into one affinity.

    A kind of affinity without terms becomes null, because Kubernetes does not accept an empty list.
    """

    def merged(known: list[Any], path: str) -> str:
        return f"concat({', '.join((constant_value(known).parsed, *(f'(fromJSON({text})?.{path} ?? [])' for text in dynamic)))})"

    all_required, all_preferred = merged(required, f"{_REQUIRED}?.nodeSelectorTerms"), merged(preferred, _PREFERRED)
    return (
        f"toJson({{'{_REQUIRED}': len({all_required}) > 0 ? {{'nodeSelectorTerms': {all_required}}} : nil, "
        f"'{_PREFERRED}': len({all_preferred}) > 0 ? {all_preferred} : nil}})"
    )


def _terms(required: list[Any], preferred: list[Any], key: str) -> Raw:
    terms: Raw = {}
    if required:
        terms[_REQUIRED] = {key: required} if key else required
    if preferred:
        terms[_PREFERRED] = preferred
    return terms


def pod_affinity(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Set the pod affinity and anti-affinity: near which other pods the pod may run."""
    del resolve
    for anti in (False, True):
        required: list[Any] = []
        preferred: list[Any] = []
        for entry in entries:
            if bool(entry.get("anti")) is not anti:
                continue
            term = _pod_term(entry)
            weighted = {"weight": int(entry["weight"]), "podAffinityTerm": term} if "weight" in entry else None
            (preferred if weighted else required).append(weighted or term)
        if required or preferred:
            _merge(pod, "podAntiAffinity" if anti else "podAffinity", _terms(required, preferred, ""))


def _pod_term(entry: Raw) -> Raw:
    term: Raw = {"topologyKey": entry.get("topologyKey", "")}
    for name, expressions, labels in (
        ("labelSelector", "matchPodExpressions", "matchPodLabels"),
        ("namespaceSelector", "matchNamespaceExpressions", "matchNamespaceLabels"),
    ):
        selector = {"matchExpressions": entry.get(expressions), "matchLabels": entry.get(labels)}
        if any(selector.values()):
            term[name] = {key: value for key, value in selector.items() if value}
    if entry.get("namespaces"):
        term["namespaces"] = entry["namespaces"]
    return term


def _merge(pod: Pod, kind: str, terms: JSON | Tag) -> None:
    pod.config.setdefault("affinity", {})[kind] = terms
    place = pod.patch if has_tag(terms) else pod.template
    place.setdefault("affinity", {})[kind] = terms
