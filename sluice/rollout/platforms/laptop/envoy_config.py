"""Envoy's configuration: its bootstrap, the endpoints of its slots and its weights. Everything here is pure.

Each of the three slots is a cluster of Envoy. Envoy reads the one endpoint of a slot from a file (EDS), so a server may start on
any port. The endpoint carries its release as metadata. From that, Envoy sets the response header ``x-sluice-release``, also on
its own answers 503 and 504. Health requests go through separate clusters, because every request through a slot's own cluster
counts as evidence. The weights are runtime keys below one prefix: the lower layer holds the weights that Envoy starts with, and
the admin layer holds those that were set since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SLOTS = ("slot-1", "slot-2", "slot-3")
"""One slot each for the champion, N-1 and the canary."""

NO_CHAMPION = "no-champion"
"""A cluster without endpoints. It gets all traffic while there is no champion, so Envoy answers 503."""

WEIGHT_PREFIX = "sluice.weights"
RELEASE_HEADER = "x-sluice-release"
PREDICTIONS_PATH = "/api/v1.0/predictions"
HEALTH_PATH = "/api/v1.0/health/status"
LOCALHOST = "127.0.0.1"

ADMIN_MODE = 0o600
"""Only the user of the supervisor may open the admin interface, because it can stop the traffic."""

MAX_CONNECTIONS = 2000
"""Connections of clients. Each has at most one request at a time, because HTTP/2 is not accepted. Envoy closes further ones."""

_HEADER_SECONDS, _REQUEST_SECONDS = 10, 30
"""Envoy answers with 408 if the headers, or the whole request, have not arrived by then. No server sees the request."""

_UNREAD_SECONDS = 30
"""Envoy gives up a client that does not read its answer."""

_IDLE_CLIENT = "300s"
_MAX_HEADER_KIB, _MAX_HEADERS, _MAX_REQUESTS = 32, 100, 10_000
_MAX_HEAP_BYTES = 1024 * 1024 * 1024
"""Near this size, Envoy soon gives up requests whose clients send nothing, and at last refuses new ones."""

REPLIES = {
    400: ("PROXY_BAD_REQUEST", "the request is not valid HTTP/1.1"),
    404: ("PROXY_NOT_FOUND", "only predictions and health checks are served"),
    408: ("PROXY_TIMEOUT", "the request did not arrive in time"),
    413: ("PROXY_TOO_LARGE", "the body is too large"),
    426: ("PROXY_HTTP_VERSION", "only HTTP/1.1 is served"),
    431: ("PROXY_HEADERS_TOO_LARGE", "the request line and the headers are too long"),
    503: ("PROXY_NO_SERVER", "no server answers at the moment"),
    504: ("PROXY_ANSWER_TIMEOUT", "the server did not answer in time"),
}
"""Status → stable reason and text of an answer that Envoy itself gives."""

OTHER_REASON = "PROXY_ERROR"

_HURRY_FROM, _HURRY_MOST, _REFUSE_FROM = 0.5, 0.8, 0.95
_HEAP = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"

_HEALTH_SUFFIX = "-health"
_TYPES = "type.googleapis.com/envoy"
_CONNECT_TIMEOUT = "1s"
# Shorter than the keep-alive of any server (gunicorn's default is 2 s), so that Envoy closes an idle connection first. Otherwise
# a request could use a connection that the server is closing.
_IDLE_TIMEOUT = "1s"


def build_bootstrap(
    *, port: int, admin: Path, weights: Mapping[str, int], endpoints: Path, request_timeout_seconds: float
) -> dict[str, Any]:
    """Return Envoy's whole configuration.

    Args:
        port: Port of the listener on the loopback interface.
        admin: Unix socket of the admin interface.
        weights: Per cent by cluster at the start, for the slots and `NO_CHAMPION`; they sum to 100.
        endpoints: Folder with one file for each slot; `endpoints_path` names the files.
        request_timeout_seconds: After this time Envoy answers a prediction with 504.
    """
    clusters = [_slot_cluster(name, slot, endpoints) for slot in SLOTS for name in (slot, slot + _HEALTH_SUFFIX)]
    empty = [
        {"name": name, "type": "STATIC", "connect_timeout": _CONNECT_TIMEOUT}
        for name in (NO_CHAMPION, NO_CHAMPION + _HEALTH_SUFFIX)
    ]
    routes = [
        _route(PREDICTIONS_PATH, "POST", "", request_timeout_seconds),
        _route(HEALTH_PATH, "GET", _HEALTH_SUFFIX, request_timeout_seconds),
    ]
    start = {key.removeprefix(f"{WEIGHT_PREFIX}."): value for key, value in build_weight_keys(weights).items()}
    return {
        "node": {"id": "sluice", "cluster": "sluice"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": ADMIN_MODE}}, "ignore_global_conn_limit": True},
        "stats_flush_interval": "1s",
        "layered_runtime": {
            "layers": [
                {"name": "start", "static_layer": {"sluice": {"weights": start}}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "overload_manager": _overload_manager(request_timeout_seconds),
        "static_resources": {
            "clusters": [*clusters, *empty],
            "listeners": [_listener(port, routes, _UNREAD_SECONDS + request_timeout_seconds)],
        },
    }


def build_weight_keys(weights: Mapping[str, int]) -> dict[str, int]:
    """Return the runtime keys and values that set these weights, for predictions and for health requests.

    Args:
        weights: Per cent by cluster. A cluster that is missing gets 0.
    """
    return {
        f"{WEIGHT_PREFIX}.{cluster}{suffix}": weights.get(cluster, 0)
        for suffix in ("", _HEALTH_SUFFIX)
        for cluster in (*SLOTS, NO_CHAMPION)
    }


def read_weight_keys(entries: Mapping[str, Any]) -> dict[str, int]:
    """Return the weights above 0 by cluster, from the entries of Envoy's ``/runtime?format=json``.

    A weight for health requests is returned too if it differs from the one for predictions.
    """
    found = {key: int(entries.get(key, {}).get("final_value", "0")) for key in build_weight_keys({})}
    weights = {}
    for key, weight in found.items():
        predictions = key.removesuffix(_HEALTH_SUFFIX)
        if weight != (found[predictions] if predictions != key else 0):
            weights[key.removeprefix(f"{WEIGHT_PREFIX}.")] = weight
    return weights


def endpoints_path(folder: Path, slot: str) -> Path:
    """Return the file from which Envoy reads the endpoint of a slot."""
    return folder / f"{slot}.json"


def build_endpoints(slot: str, release: str, port: int | None, *, version: str) -> dict[str, Any]:
    """Return the content of a slot's endpoint file.

    Args:
        slot: Name of the slot.
        release: Digest of the release in the slot.
        port: Port of the release's server on the loopback interface. None leaves the slot empty.
        version: Envoy reports this as the version that it uses.
    """
    localities = []
    if port is not None:
        host = {"endpoint": {"address": _address(port)}, "metadata": {"filter_metadata": {"sluice": {"release": release}}}}
        localities = [{"lb_endpoints": [host]}]
    assignment = {"@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": slot, "endpoints": localities}
    return {"version_info": version, "resources": [assignment]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOCALHOST, "port_value": port}}


def _slot_cluster(name: str, slot: str, endpoints: Path) -> dict[str, Any]:
    source = {"path": str(endpoints_path(endpoints, slot)), "watched_directory": {"path": str(endpoints)}}
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
    """Return the route of one exact path and method. It has no retry policy, because a retry would hide errors."""
    clusters = [
        {"name": cluster + suffix, "weight": ALL_TRAFFIC if cluster == NO_CHAMPION else 0} for cluster in (*SLOTS, NO_CHAMPION)
    ]
    header = {"key": RELEASE_HEADER, "value": "%UPSTREAM_METADATA(sluice:release)%"}
    return {
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": method}}]},
        "response_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "route": {"timeout": f"{timeout}s", "weighted_clusters": {"runtime_key_prefix": WEIGHT_PREFIX, "clusters": clusters}},
    }


def _listener(port: int, routes: list[dict[str, Any]], stream_idle_seconds: float) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
    }
    # A request reaches a server as a whole or not at all. A client that sends slowly or goes away therefore neither occupies a
    # server nor counts in any release.
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": MAX_REQUEST_BYTES},
    }
    connections = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "predictions",
        # No client is trusted, not even one on this machine: its x-envoy-* headers must not set timeouts or switch retries on.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 32}]},
        "normalize_path": True,
        "merge_slashes": True,
        "route_config": {"name": "predictions", "virtual_hosts": [{"name": "predictions", "domains": ["*"], "routes": routes}]},
        "codec_type": "HTTP1",
        "request_headers_timeout": f"{_HEADER_SECONDS}s",
        "request_timeout": f"{_REQUEST_SECONDS}s",
        "stream_idle_timeout": f"{stream_idle_seconds}s",
        "max_request_headers_kb": _MAX_HEADER_KIB,
        "common_http_protocol_options": {
            "idle_timeout": _IDLE_CLIENT,
            "max_headers_count": _MAX_HEADERS,
            "max_requests_per_connection": _MAX_REQUESTS,
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "local_reply_config": _local_replies(),
        "http_filters": [buffer, router],
    }
    return {
        "name": "predictions",
        "address": _address(port),
        "enable_reuse_port": False,  # with it, a second Envoy could listen on the same port without an error
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}],
    }


def _local_replies() -> dict[str, Any]:
    """Return the configuration that turns Envoy's own answers into JSON, in the form of Seldon's errors."""
    mappers = [
        {
            "filter": {
                "status_code_filter": {
                    "comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": "sluice.unused"}}
                }
            },
            "body_format_override": _build_body(reason, info),
        }
        for status, (reason, info) in REPLIES.items()
    ]
    return {"mappers": mappers, "body_format": _build_body(OTHER_REASON, "%RESPONSE_CODE_DETAILS%")}


def _overload_manager(request_timeout_seconds: float) -> dict[str, Any]:
    """Return the limits of the whole process.

    From half of the heap on, Envoy waits less and less for clients that send nothing, but as long as a server may take for an
    answer. From 95 % on, it answers new requests with 503. (The action that resets the largest requests needs HTTP/2.)
    """
    heap = ("fixed_heap.v3.FixedHeapConfig", {"max_heap_size_bytes": _MAX_HEAP_BYTES})
    connections = (
        "downstream_connections.v3.DownstreamConnectionsConfig",
        {"max_active_downstream_connections": MAX_CONNECTIONS},
    )
    monitors = [
        {"name": name, "typed_config": {"@type": f"{_TYPES}.extensions.resource_monitors.{kind}", **limits}}
        for name, (kind, limits) in ((_HEAP, heap), (_CONNECTIONS, connections))
    ]
    hurry = {"scaling_threshold": _HURRY_FROM, "saturation_threshold": _HURRY_MOST}
    timers = [
        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": f"{request_timeout_seconds + 1}s"},
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "1s"},
    ]
    actions = [
        {
            "name": "envoy.overload_actions.reduce_timeouts",
            "triggers": [{"name": _HEAP, "scaled": hurry}],
            "typed_config": {
                "@type": f"{_TYPES}.config.overload.v3.ScaleTimersOverloadActionConfig",
                "timer_scale_factors": timers,
            },
        },
        {
            "name": "envoy.overload_actions.stop_accepting_requests",
            "triggers": [{"name": _HEAP, "threshold": {"value": _REFUSE_FROM}}],
        },
    ]
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": monitors,
        "actions": actions,
    }


def _build_body(reason: str, info: str) -> dict[str, Any]:
    return {"json_format": {"status": {"status": 1, "info": info, "code": -1, "reason": reason}}}
