"""What Envoy is told: its bootstrap and the endpoints of its slots. Pure.

Each of the three slots is a cluster whose one endpoint is read from a file (EDS), so that a server may come and go on
any port; the endpoint carries its release as metadata, from which the response header ``x-sluice-release`` is made,
on Envoy's own 503s and 504s too. Health goes through clusters of its own, because every request through a slot's
cluster counts as evidence. Weights are runtime keys below one prefix: the lower layer holds those that Envoy starts
with, the admin layer those that were set since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.states import ALL_TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SLOTS = ("slot-1", "slot-2", "slot-3")
"""One for the champion, one for the warm N-1, one for the canary."""

NOBODY = "nobody"
"""A cluster without endpoints: it takes the traffic while there is no champion, and answers 503."""

WEIGHT_PREFIX = "sluice.weights"
RELEASE_HEADER = "x-sluice-release"
PREDICTIONS_PATH = "/api/v1.0/predictions"
HEALTH_PATH = "/api/v1.0/health/status"
LOCALHOST = "127.0.0.1"

_HEALTH_SUFFIX = "-health"
_TYPES = "type.googleapis.com/envoy"
_CONNECT_TIMEOUT = "1s"
# Below what any server keeps (gunicorn: 2 s unless told): Envoy must close an idle connection, or a request meets a closing one.
_IDLE_TIMEOUT = "1s"


def build_bootstrap(*, port: int, weights: Mapping[str, int], endpoints: Path, request_timeout_seconds: float) -> dict[str, Any]:
    """Envoy's whole configuration.

    Args:
        port: Of the listener, on the loopback interface.
        weights: Per cent by cluster (slots and nobody) to start with; sums to 100.
        endpoints: Folder with one file for each slot, named by `endpoints_file`.
        request_timeout_seconds: A prediction that takes longer is answered 504.
    """
    clusters = [_slot_cluster(name, slot, endpoints) for slot in SLOTS for name in (slot, slot + _HEALTH_SUFFIX)]
    nobody = [{"name": name, "type": "STATIC", "connect_timeout": _CONNECT_TIMEOUT} for name in (NOBODY, NOBODY + _HEALTH_SUFFIX)]
    routes = [
        _route(PREDICTIONS_PATH, "POST", "", request_timeout_seconds),
        _route(HEALTH_PATH, "GET", _HEALTH_SUFFIX, request_timeout_seconds),
    ]
    start = {key.removeprefix(f"{WEIGHT_PREFIX}."): value for key, value in weight_keys(weights).items()}
    return {
        "node": {"id": "sluice", "cluster": "sluice"},
        "admin": {"address": _address(0)},
        "stats_flush_interval": "1s",
        "layered_runtime": {
            "layers": [
                {"name": "start", "static_layer": {"sluice": {"weights": start}}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "static_resources": {"clusters": [*clusters, *nobody], "listeners": [_listener(port, routes)]},
    }


def weight_keys(weights: Mapping[str, int]) -> dict[str, int]:
    """Runtime keys and values that make the weights so, health's clusters included; clusters that are not named get 0."""
    return {
        f"{WEIGHT_PREFIX}.{cluster}{suffix}": weights.get(cluster, 0)
        for suffix in ("", _HEALTH_SUFFIX)
        for cluster in (*SLOTS, NOBODY)
    }


def read_weight_keys(entries: Mapping[str, Any]) -> dict[str, int]:
    """Weights above 0 by cluster, from the entries of Envoy's ``/runtime?format=json``."""
    found = {cluster: entries.get(f"{WEIGHT_PREFIX}.{cluster}", {}).get("final_value", "0") for cluster in (*SLOTS, NOBODY)}
    return {cluster: int(value) for cluster, value in found.items() if int(value)}


def endpoints_file(folder: Path, slot: str) -> Path:
    """Where Envoy reads the endpoint of a slot from."""
    return folder / f"{slot}.json"


def build_endpoints(slot: str, release: str, port: int | None, *, version: str) -> dict[str, Any]:
    """The content of a slot's endpoint file; without a port the slot is empty.

    Args:
        slot: Name of the slot.
        release: Digest of the release that is there.
        port: Its server's port on the loopback interface.
        version: Shown by Envoy as the version it has taken over.
    """
    places = []
    if port is not None:
        host = {"endpoint": {"address": _address(port)}, "metadata": {"filter_metadata": {"sluice": {"release": release}}}}
        places = [{"lb_endpoints": [host]}]
    assignment = {"@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": slot, "endpoints": places}
    return {"version_info": version, "resources": [assignment]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOCALHOST, "port_value": port}}


def _slot_cluster(name: str, slot: str, endpoints: Path) -> dict[str, Any]:
    source = {"path": str(endpoints_file(endpoints, slot)), "watched_directory": {"path": str(endpoints)}}
    options = f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": _CONNECT_TIMEOUT,
        "eds_cluster_config": {"service_name": slot, "eds_config": {"path_config_source": source}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "common_http_protocol_options": {"idle_timeout": _IDLE_TIMEOUT},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _route(path: str, method: str, suffix: str, timeout: float) -> dict[str, Any]:
    """One exact path and method; without a retry policy, because a retry would hide errors."""
    clusters = [{"name": cluster + suffix, "weight": ALL_TRAFFIC if cluster == NOBODY else 0} for cluster in (*SLOTS, NOBODY)]
    header = {"key": RELEASE_HEADER, "value": "%UPSTREAM_METADATA(sluice:release)%"}
    return {
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": method}}]},
        "response_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "route": {"timeout": f"{timeout}s", "weighted_clusters": {"runtime_key_prefix": WEIGHT_PREFIX, "clusters": clusters}},
    }


def _listener(port: int, routes: list[dict[str, Any]]) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
    }
    connections = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "predictions",
        # Clients are strangers, those of this machine too: their x-envoy-* headers must not set timeouts or switch retries on.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 32}]},
        "normalize_path": True,
        "merge_slashes": True,
        "route_config": {"name": "predictions", "virtual_hosts": [{"name": "predictions", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }
    return {
        "name": "predictions",
        "address": _address(port),
        "enable_reuse_port": False,  # with it a second Envoy could take the same port without an error
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}],
    }
