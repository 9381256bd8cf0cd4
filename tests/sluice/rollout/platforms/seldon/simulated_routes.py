"""The routes that the operator of the simulated cluster writes."""

from __future__ import annotations

from typing import Any

from sluice.rollout.platforms.seldon.objects.routes import build_service_host


def plan_operator_routes(name: str, namespace: str, predictors: list[dict[str, Any]], gateway: str) -> dict[str, Any]:
    """Return the spec of the VirtualService as operator 1.17.1 writes it."""

    def plan_destinations(port: int) -> list[dict[str, Any]]:
        return [
            {
                "destination": {
                    "host": build_service_host(name, one["name"], namespace),
                    "port": {"number": port},
                    "subset": one["name"],
                },
                **({"weight": one["traffic"]} if one.get("traffic") else {}),
            }
            for one in predictors
        ]

    rest = {"match": [{"uri": {"prefix": f"/seldon/{namespace}/{name}/"}}], "rewrite": {"uri": "/"}}
    headers = {"seldon": {"exact": name}, "namespace": {"exact": namespace}}
    grpc = {"match": [{"uri": {"regex": ".*tensorflow.*|.*seldon.protos.*|.*inference.*"}, "headers": headers}]}
    return {
        "hosts": ["*"],
        "gateways": [gateway],
        "http": [rest | {"route": plan_destinations(8000)}, grpc | {"route": plan_destinations(5001)}],
    }
