"""The form of the routes as Seldon's operator writes them, without weights, so that lost routes can be written again. Pure.

Seldon's operator (1.17.1, `createIstioResources` in its controller of SeldonDeployments) writes one VirtualService with a route
for REST and one for gRPC. Each has a destination for each predictor. The controller remembers what it saw of that, because
gateway and retries follow from settings of the operator that it cannot read.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HTTP_PORT, _GRPC_PORT = 8000, 5001
_GRPC_PATHS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
_MIRRORS = ("mirror", "mirrors", "mirrorPercentage")


@dataclass(frozen=True, slots=True)
class RouteForm:
    """The routes of one SeldonDeployment without their weights.

    Attributes:
        spec: The spec of the VirtualService. Its ``http`` routes have no destinations.
        ports: The port of the destinations of each ``http`` route.
        subsets: Whether a destination names the subset of its DestinationRule.
        hosts: The hosts of the destinations, in their order.
        rules: The specs of the DestinationRules that were seen, by name.
    """

    spec: Mapping[str, Any]
    ports: tuple[int, ...]
    subsets: bool
    hosts: tuple[str, ...]
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the form as plain JSON types."""
        return {
            "spec": self.spec,
            "ports": list(self.ports),
            "subsets": self.subsets,
            "hosts": list(self.hosts),
            "rules": dict(self.rules),
        }

    def is_like(self, other: RouteForm) -> bool:
        """Return whether two forms differ in their hosts and rules at most."""
        return (self.spec, self.ports, self.subsets) == (other.spec, other.ports, other.subsets)


def load_form(found: Mapping[str, Any] | None) -> RouteForm | None:
    """Return the form that `RouteForm.dump` wrote; None if there is none."""
    if not found:
        return None
    hosts = tuple(found["hosts"])
    return RouteForm(found["spec"], tuple(found["ports"]), bool(found["subsets"]), hosts, found.get("rules") or {})


def read_form(service: Mapping[str, Any] | None) -> RouteForm | None:
    """Return the form of a VirtualService; None if its routes do not all have the same hosts, or have none."""
    spec = copy.deepcopy(dict((service or {}).get("spec") or {}))
    destinations = [[one.get("destination") or {} for one in route.pop("route", None) or []] for route in spec.get("http") or []]
    hosts = [tuple(str(one.get("host")) for one in group) for group in destinations]
    if not hosts or not hosts[0] or any(group != hosts[0] for group in hosts):
        return None
    ports = tuple(int((group[0].get("port") or {}).get("number") or 0) for group in destinations)
    subsets = all(one.get("subset") for group in destinations for one in group)
    return RouteForm(spec, ports, subsets, hosts[0])


def build_form(name: str, namespace: str, annotations: Mapping[str, str], hosts: Sequence[str]) -> RouteForm:
    """Return the form that operator 1.17.1 writes with its own defaults. It is used if the operator's routes were never seen.

    Args:
        name: Name of the SeldonDeployment.
        namespace: Its namespace.
        annotations: The annotations in its spec, which may name a gateway and a host.
        hosts: The hosts of the predictors that can answer.
    """
    headers = {"seldon": {"exact": name}, "namespace": {"exact": namespace}}
    spec = {
        "gateways": [annotations.get("seldon.io/istio-gateway", "seldon-gateway")],
        "hosts": [annotations.get("seldon.io/istio-host", "*")],
        "http": [
            {"match": [{"uri": {"prefix": build_prefix(name, namespace)}}], "rewrite": {"uri": "/"}},
            {"match": [{"uri": {"regex": _GRPC_PATHS}, "headers": headers}]},
        ],
    }
    return RouteForm(spec, (_HTTP_PORT, _GRPC_PORT), subsets=True, hosts=tuple(hosts))


def build_prefix(name: str, namespace: str) -> str:
    """Return the path under which the gateway serves a SeldonDeployment."""
    return f"/seldon/{namespace}/{name}/"


def build_owner(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the owner reference to a SeldonDeployment, as its operator writes it into the routes."""
    metadata = deployment.get("metadata") or {}
    named = {"name": metadata.get("name"), "uid": metadata.get("uid"), "controller": True, "blockOwnerDeletion": True}
    return {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", **named}


def is_plausible(form: RouteForm | None, name: str, namespace: str, known: Sequence[str]) -> bool:
    """Return whether routes can be the operator's: they serve the path, send copies to nobody, and have only known hosts."""
    if form is None or not set(form.hosts) <= set(known):
        return False
    routes = form.spec.get("http") or []
    matches = [match for route in routes for match in route.get("match") or []]
    serves = any((match.get("uri") or {}).get("prefix") == build_prefix(name, namespace) for match in matches)
    return serves and not any(mirror in route for route in routes for mirror in _MIRRORS)


def has_lost(live: RouteForm | None, form: RouteForm, present: Sequence[str]) -> bool:
    """Return whether live routes lack something of the form that they must have.

    Args:
        live: The routes in the cluster; None if there are none that can be read.
        form: The routes that were seen before.
        present: The hosts of all predictors.
    """
    if live is None or not live.is_like(form):
        return True
    return not set(form.hosts) & set(present) <= set(live.hosts) <= set(form.hosts) | set(present)


def build_route_spec(form: RouteForm, predictors: Mapping[str, str], weights: Mapping[str, int]) -> dict[str, Any]:
    """Return the spec of a VirtualService of this form.

    Args:
        form: The form. A predictor that it does not have becomes a destination only if it gets traffic.
        predictors: The names of all predictors by host, in their order.
        weights: Per cent by host.
    """
    hosts = [host for host in predictors if host in form.hosts or weights.get(host)]
    spec: dict[str, Any] = copy.deepcopy(dict(form.spec))
    for route, port in zip(spec["http"], form.ports, strict=True):
        route["route"] = [_build_destination(form, host, predictors[host], port, weights.get(host, 0)) for host in hosts]
    return spec


def _build_destination(form: RouteForm, host: str, predictor: str, port: int, weight: int) -> dict[str, Any]:
    subset = {"subset": predictor} if form.subsets else {}
    destination: dict[str, Any] = {"destination": {"host": host, **({"port": {"number": port}} if port else {}), **subset}}
    return destination | ({"weight": weight} if weight else {})  # the operator omits a weight of 0
