"""The VirtualService that Seldon's operator writes: who gets how much, read and set. Pure.

The operator writes it only while every Deployment is ready, so a canary that crash-loops, or a stable that is being scaled,
would hold a rollback up: weights are set here as well, to the same values. A destination without a weight gets nothing where
there are several, and all where it stands alone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError
from sluice.rollout.decisions.states import ALL_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NAME = 63


def host_of(deployment: str, predictor: str, namespace: str) -> str:
    """Host of a predictor's Service, as the operator names it.

    Raises:
        ConfigurationError: Its name is longer than a Service's may be.
    """
    name = f"{deployment}-{predictor}"
    if len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"{name} is longer than the {_LONGEST_NAME} characters of a Service's name", hint="Set a shorter seldon.name."
        )
    return f"{name}.{namespace}.svc.cluster.local"


def read_weights(service: Mapping[str, Any], releases: Mapping[str, str]) -> dict[str, int] | None:
    """Per cents above 0 by release.

    Args:
        service: The VirtualService.
        releases: Release by host. A host that is not in it counts under its own name.

    Returns:
        What all routes agree in; None where they do not.
    """
    found = [
        {releases.get(host, host): weight for host, weight in _weights(route).items() if weight}
        for route in service.get("spec", {}).get("http") or []
    ]
    return found[0] if found and all(one == found[0] for one in found) else None


def hosts_in(service: Mapping[str, Any]) -> frozenset[str]:
    """Hosts that every route has a destination for."""
    routes = [frozenset(_weights(route)) for route in service.get("spec", {}).get("http") or []]
    return frozenset.intersection(*routes) if routes else frozenset()


def plan_routes(service: Mapping[str, Any], weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """The ``http`` routes with these per cents by host; hosts that are not named get none.

    Raises:
        ValueError: A host with traffic is no destination yet.
    """
    if missing := [host for host, weight in weights.items() if weight and host not in hosts_in(service)]:
        raise ValueError(f"the operator has not routed to {', '.join(missing)} yet")
    routes: list[dict[str, Any]] = copy.deepcopy(list(service.get("spec", {}).get("http") or []))
    for route in routes:
        for destination in route.get("route", []):
            weight = weights.get(destination["destination"]["host"], 0)
            # As the operator writes it, so that it finds nothing to change: absent is 0.
            destination.pop("weight", None)
            if weight:
                destination["weight"] = weight
    return routes


def _weights(route: Mapping[str, Any]) -> dict[str, int]:
    destinations = route.get("route") or []
    alone = ALL_TRAFFIC if len(destinations) == 1 else 0
    return {one["destination"]["host"]: int(one.get("weight", alone)) for one in destinations}
