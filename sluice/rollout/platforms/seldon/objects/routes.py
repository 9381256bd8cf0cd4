"""The routes of the VirtualService that Seldon's operator writes: reading and setting the weights. Pure.

The operator writes the VirtualService only while every Deployment is ready. So a canary that crash-loops, or a stable that is
being scaled, would delay a rollback. Therefore the controller sets the weights here as well, to the same values. A destination
without a weight gets no traffic if a route has several destinations, and all traffic if it is the only one.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError
from sluice.rollout.decisions.states import ALL_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_NAME_LENGTH = 63


def build_service_host(deployment: str, predictor: str, namespace: str) -> str:
    """Return the host of a predictor's Service, as the operator names it.

    Raises:
        ConfigurationError: The name is longer than a Service's name may be.
    """
    name = f"{deployment}-{predictor}"
    if len(name) > _MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"the Service name {name} has {len(name)} characters; at most {_MAX_NAME_LENGTH} are allowed",
            hint="Set a shorter seldon.name.",
        )
    return f"{name}.{namespace}.svc.cluster.local"


def read_weights(service: Mapping[str, Any], releases: Mapping[str, str]) -> dict[str, int] | None:
    """Return the weights that all routes have.

    Args:
        service: The VirtualService.
        releases: Release by host. A host that is missing counts under its own name.

    Returns:
        Per cents above 0 by release; None if the routes differ from each other.
    """
    found = [
        {releases.get(host, host): weight for host, weight in _read_route_weights(route).items() if weight}
        for route in service.get("spec", {}).get("http") or []
    ]
    return found[0] if found and all(one == found[0] for one in found) else None


def list_routed_hosts(service: Mapping[str, Any]) -> frozenset[str]:
    """Return the hosts that are a destination of every route."""
    routes = [frozenset(_read_route_weights(route)) for route in service.get("spec", {}).get("http") or []]
    return frozenset.intersection(*routes) if routes else frozenset()


def build_routes(service: Mapping[str, Any], weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the ``http`` routes with these weights.

    Args:
        service: The VirtualService.
        weights: Per cent by host. A host that is missing gets 0.

    Raises:
        ValueError: A host with traffic is not a destination yet.
    """
    if missing := [host for host, weight in weights.items() if weight and host not in list_routed_hosts(service)]:
        raise ValueError(f"the operator has not routed to {', '.join(missing)} yet")
    routes: list[dict[str, Any]] = copy.deepcopy(list(service.get("spec", {}).get("http") or []))
    for route in routes:
        for destination in route.get("route", []):
            weight = weights.get(destination["destination"]["host"], 0)
            # The operator omits a weight of 0. Writing it the same way leaves the operator nothing to change.
            destination.pop("weight", None)
            if weight:
                destination["weight"] = weight
    return routes


def _read_route_weights(route: Mapping[str, Any]) -> dict[str, int]:
    """Return the weights of one route by host."""
    destinations = route.get("route") or []
    default = ALL_TRAFFIC if len(destinations) == 1 else 0
    return {one["destination"]["host"]: int(one.get("weight", default)) for one in destinations}
