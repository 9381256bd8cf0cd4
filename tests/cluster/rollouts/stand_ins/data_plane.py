"""A real Envoy that follows the VirtualServices of a namespace: ``python data_plane.py NAMESPACE FOLDER PORT METRICS_PORT``.

Like Istio's gateway, it routes by prefix, rewrite and weight to the cluster IPs of the Services. If a route has several
destinations, one without a weight gets no traffic. It does not support header matches and subsets. The header ``x-upstream`` of
each answer names the Service that the request was sent to, even if that Service did not answer.

Its metrics are at ``/stats/prometheus`` of the second port. The clusters have the names that Istio gives them, and the metrics
have the tags of Istio's bootstrap (https://github.com/istio/istio/blob/master/tools/packaging/common/envoy_bootstrap.json).
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kube import ISTIO, Informer, Kube

from sluice.rollout.platforms.laptop.child_processes import start_child
from sluice.rollout.platforms.laptop.envoy import find_envoy

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPE = "type.googleapis.com/envoy.{}"
_UPSTREAM_HEADER = [
    {"header": {"key": "x-upstream", "value": "%UPSTREAM_CLUSTER%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
]


_TAGS = [
    {"tag_name": "cluster_name", "regex": r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)"},
    {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
    {"tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$"},
]


class DataPlane:
    """Write the files that Envoy reads its clusters and routes from."""

    def __init__(self, kube: Kube, namespace: str, folder: Path) -> None:
        self.folder = folder
        self.changed = threading.Condition()
        self.version = self.written = 0
        self.hosts = set[tuple[str, int]]()
        root = f"/api/v1/namespaces/{namespace}/services"
        self.services = Informer(kube, root, self.mark)
        self.routes = Informer(kube, f"{ISTIO}/namespaces/{namespace}/virtualservices", self.mark)

    def mark(self, _: object = None) -> None:
        """Note that an object changed."""
        with self.changed:
            self.version += 1
            self.changed.notify()

    def write(self) -> None:
        """Write clusters and routes from the present objects. Clusters come first, so that every route has its cluster.

        As in Istio, the cluster of a Service stays while no route names it.
        """
        routes, hosts = [], {one for one in self.hosts if self.find_service(one[0]) is not None}
        for item in list(self.routes.objects.values()):
            for prefix, rewrite, targets in read_routes(item):
                hosts |= {(host, port) for host, port, _ in targets}
                weighted = {"clusters": [{"name": name_cluster(host, port), "weight": weight} for host, port, weight in targets]}
                action: dict[str, Any] = {"weighted_clusters": weighted, "timeout": "10s", "prefix_rewrite": rewrite}
                routes.append({"match": {"prefix": prefix}, "route": action})
        self.hosts = hosts
        clusters = [self.plan_cluster(host, port) for host, port in sorted(hosts)]
        self.publish("clusters", "config.cluster.v3.Cluster", clusters)
        virtual = {"name": "all", "domains": ["*"], "routes": routes, "response_headers_to_add": _UPSTREAM_HEADER}
        self.publish("routes", "config.route.v3.RouteConfiguration", [{"name": "routes", "virtual_hosts": [virtual]}])

    def plan_cluster(self, host: str, port: int) -> dict[str, Any]:
        """Return the cluster of a Service. It has no endpoint if the Service does not exist."""
        service, endpoints = self.find_service(host), []
        if service is not None:
            address = {"socket_address": {"address": service["spec"]["clusterIP"], "port_value": port}}
            endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        named = name_cluster(host, port)
        load = {"cluster_name": named, "endpoints": endpoints}
        return {"name": named, "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}

    def find_service(self, host: str) -> dict[str, Any] | None:
        """Return the Service behind a host; None if it does not exist."""
        name, namespace = host.split(".")[:2]
        return self.services.objects.get(f"{namespace}/{name}")

    def publish(self, name: str, kind: str, resources: list[dict[str, Any]]) -> None:
        """Write the resources to a file, and replace the old file in one operation."""
        document = {"version_info": str(self.version), "resources": [{"@type": _TYPE.format(kind)} | one for one in resources]}
        draft = self.folder / f"{name}.draft"
        draft.write_text(json.dumps(document))
        draft.replace(self.folder / f"{name}.json")

    def follow(self) -> None:
        """Write the files whenever something changed."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.version != self.written)
                self.written = self.version
            self.write()


def name_cluster(host: str, port: int) -> str:
    """Name a cluster as Istio does."""
    return f"outbound|{port}||{host}"


def read_routes(item: dict[str, Any]) -> Iterator[tuple[str, str, list[tuple[str, int, int]]]]:
    """Yield prefix, rewrite and destinations (host, port, weight) of each VirtualService route that matches only a prefix."""
    for route in item["spec"].get("http", []):
        targets = route.get("route", [])
        alone = 100 if len(targets) == 1 else 0
        destinations = [
            (one["destination"]["host"], one["destination"]["port"]["number"], int(one.get("weight", alone))) for one in targets
        ]
        for match in route.get("match", []):
            prefix = match.get("uri", {}).get("prefix")
            if prefix and "headers" not in match and sum(weight for _, _, weight in destinations):
                yield prefix, route.get("rewrite", {}).get("uri", prefix), destinations


def plan_bootstrap(folder: Path, port: int, metrics_port: int) -> dict[str, Any]:
    """Return Envoy's bootstrap configuration."""

    def source(name: str) -> dict[str, Any]:
        watched = {"path": str(folder / f"{name}.json"), "watched_directory": {"path": str(folder)}}
        return {"path_config_source": watched, "resource_api_version": "V3"}

    router = {"@type": _TYPE.format("extensions.filters.http.router.v3.Router")}
    status = {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "least_status"}}}
    manager = {
        "@type": _TYPE.format("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "tests",
        "rds": {"route_config_name": "routes", "config_source": source("routes")},
        "local_reply_config": {"mappers": [{"filter": {"status_code_filter": status}, "headers_to_add": _UPSTREAM_HEADER}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": filters}],
    }
    return {
        "node": {"id": "tests", "cluster": "tests"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": metrics_port}}},
        "stats_config": {"use_all_default_tags": False, "stats_tags": _TAGS},
        "dynamic_resources": {"cds_config": source("clusters")},
        "static_resources": {"listeners": [listener]},
    }


def main() -> None:
    """Follow the VirtualServices until the process ends. Envoy ends with it."""
    namespace, folder, port, metrics_port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    plane = DataPlane(Kube(), namespace, folder)
    plane.services.listed.wait()
    plane.routes.listed.wait()
    plane.write()
    bootstrap = folder / "bootstrap.json"
    bootstrap.write_text(json.dumps(plan_bootstrap(folder, port, metrics_port)))
    command = [str(find_envoy()), "-c", str(bootstrap), "-l", "warning", "--use-dynamic-base-id", "--concurrency", "1"]
    start_child(command, log=folder / "envoy.log")
    plane.follow()


if __name__ == "__main__":
    main()
