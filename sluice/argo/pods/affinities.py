"""kfp-kubernetes' affinities as Kubernetes': the terms of every call together, as KFP's driver merges them (``k8s.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import constant
from sluice.argo.expressions.wire_json import Tag, parse_json
from sluice.argo.pods.step_pods import has_tag

if TYPE_CHECKING:
    from sluice.argo.pods.step_pods import Pod, Resolve
    from sluice.ir.graph import JSON

Raw = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def node_affinity(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Where a pod may run: terms as they are written, JSON that is known, and JSON that only the run knows."""
    required: list[Any] = []
    preferred: list[Any] = []
    dynamic: list[str] = []
    for entry in entries:
        if entry.get("nodeAffinityJson"):
            value = resolve(entry["nodeAffinityJson"])
            if not value.is_constant:
                dynamic.append(value.expression)
                continue
            known: Any = parse_json(value.text) or {}
            required += (known.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
            preferred += known.get(_PREFERRED) or []
        elif term := {key: entry[key] for key in ("matchExpressions", "matchFields") if entry.get(key)}:
            weighted = {"weight": int(entry["weight"]), "preference": term} if "weight" in entry else None
            (preferred if weighted else required).append(weighted or term)
    if len(dynamic) == 1 and not required and not preferred:
        _merge(pod, "nodeAffinity", Tag(dynamic[0]))
    elif dynamic:
        _merge(pod, "nodeAffinity", Tag(_joined(required, preferred, dynamic)))
    elif required or preferred:
        _merge(pod, "nodeAffinity", _terms(required, preferred, "nodeSelectorTerms"))


def _joined(required: list[Any], preferred: list[Any], dynamic: list[str]) -> str:
    """Known terms and those of JSON texts as one affinity; null for a kind without any, since Kubernetes takes no empty list."""

    def together(known: list[Any], path: str) -> str:
        return f"concat({', '.join((constant(known).parsed, *(f'(fromJSON({text})?.{path} ?? [])' for text in dynamic)))})"

    needed, wished = together(required, f"{_REQUIRED}?.nodeSelectorTerms"), together(preferred, _PREFERRED)
    return (
        f"toJson({{'{_REQUIRED}': len({needed}) > 0 ? {{'nodeSelectorTerms': {needed}}} : nil, "
        f"'{_PREFERRED}': len({wished}) > 0 ? {wished} : nil}})"
    )


def _terms(required: list[Any], preferred: list[Any], key: str) -> Raw:
    terms: Raw = {}
    if required:
        terms[_REQUIRED] = {key: required} if key else required
    if preferred:
        terms[_PREFERRED] = preferred
    return terms


def pod_affinity(pod: Pod, entries: list[Raw], resolve: Resolve) -> None:
    """Which pods a pod may run beside, and which not."""
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
