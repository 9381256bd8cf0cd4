"""Who may connect to the servers of releases and to the controller, and where the controller finds the gateway's metrics."""

from __future__ import annotations

import httpx
from manifest_objects import build, find

from sluice.project.tables.seldon import SeldonTable
from sluice.rollout.platforms.seldon.counters import executors
from sluice.rollout.platforms.seldon.objects.predictors import HTTP_PORT, METRICS_PORT

SELECTED = {"istio": "ingressgateway"}
GATEWAY = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}},
    "podSelector": {"matchLabels": SELECTED},
}
CONTROLLER = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "sluice-controller"}}}
PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
EXECUTOR_GRPC = 5001


def list_admitted(name: str) -> dict[int, list[object]]:
    """Return who may connect to each port that a NetworkPolicy names."""
    spec = find("NetworkPolicy", name)["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    admitted: dict[int, list[object]] = {}
    for rule in spec["ingress"]:
        assert rule["from"], "a rule without peers admits everybody"
        for port in rule["ports"]:
            assert port["protocol"] == "TCP"
            admitted.setdefault(port["port"], []).extend(rule["from"])
    return admitted


def test_only_the_gateway_the_controller_and_prometheus_reach_an_executor_and_only_the_controller_a_model_server() -> None:
    assert list_admitted("sluice-serving") == {
        executors.PORT: [GATEWAY, CONTROLLER, PROMETHEUS],
        EXECUTOR_GRPC: [GATEWAY],
        HTTP_PORT: [CONTROLLER],
        METRICS_PORT: [PROMETHEUS],
    }


def test_only_prometheus_reads_the_metrics_of_the_controller() -> None:
    (container,) = find("Deployment", "sluice-controller")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert list_admitted("sluice-controller") == {port["containerPort"]: [PROMETHEUS]}
    labels = find("Deployment", "sluice-controller")["spec"]["template"]["metadata"]["labels"]
    assert find("NetworkPolicy", "sluice-controller")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert CONTROLLER["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_default_of_the_setting_is_the_service_of_the_production_overlay() -> None:
    (service,) = [one for one in build("overlays/production") if one["metadata"]["name"] == "sluice-gateway-metrics"]
    url = httpx.URL(SeldonTable().gateway_metrics)
    assert (service["kind"], url.host) == ("Service", f"{service['metadata']['name']}.{service['metadata']['namespace']}")
    assert [port["port"] for port in service["spec"]["ports"]] == [url.port]
    assert service["spec"]["clusterIP"] == "None", "a Service with an address of its own answers for one proxy at a time"
    assert service["spec"]["selector"] == SELECTED
