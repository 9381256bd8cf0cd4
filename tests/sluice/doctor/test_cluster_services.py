"""What `sluice doctor` asks of the services in a cluster, here against small servers that answer as they do."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sluice.doctor.cluster_services import check_artifact_store, check_gateway, check_gateway_metrics, check_operator
from sluice.engines import RunSummary
from sluice.engines.argo.api_server import RefusedCallError
from sluice.engines.argo.refusals import Refusal
from sluice.project.tables.seldon import SeldonTable
from sluice.report.results import RunResult

if TYPE_CHECKING:
    from collections.abc import Iterator


class Deployments:
    """Answers the one call as an API server does."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items = items

    def call(self, method: str, path: str, *, query: dict[str, str]) -> dict[str, Any]:
        assert (method, path) == ("GET", "/apis/apps/v1/deployments")
        assert query == {"labelSelector": "control-plane=seldon-controller-manager"}
        if self.items is None:
            raise RefusedCallError(Refusal(status=403, message="forbidden", call=f"GET {path}", server="https://api"))
        return {"items": self.items}


@pytest.mark.parametrize(
    ("items", "outcome", "text"),
    [
        ([{"metadata": {"namespace": "seldon-system"}, "status": {"readyReplicas": 1}}], "pass", "namespace seldon-system"),
        ([{"metadata": {"namespace": "seldon-system"}, "status": {}}], "fail", "is not ready"),
        ([], "fail", "no Deployment has the label"),
        (None, "note", "may not list"),
    ],
)
def test_the_operator_is_found_by_its_deployment(items: list[dict[str, Any]] | None, outcome: str, text: str) -> None:
    found = check_operator(Deployments(items))  # type: ignore[arg-type]
    assert (found.outcome, text in found.detail) == (outcome, True)


@pytest.fixture
def gateway() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_gateway_that_answers_anything_passes(gateway: str) -> None:
    assert check_gateway(gateway).outcome == "pass"
    assert check_gateway("").outcome == "note"
    gone = check_gateway("http://127.0.0.1:9")
    assert (gone.outcome, "does not answer" in gone.detail) == ("fail", True)


class Runs:
    """An engine with one run."""

    def __init__(self, outcome: str, *notes: str) -> None:
        self.outcome, self.notes = outcome, notes

    def list(self) -> tuple[RunSummary, ...]:
        return (RunSummary(id="r2", engine="argo", pipeline="ci", outcome="running"),) + (
            (RunSummary(id="r1", engine="argo", pipeline="ci", outcome=self.outcome),) if self.outcome else ()
        )

    def result(self, run: str) -> RunResult:
        assert run == "r1"
        return RunResult.model_construct(notes=self.notes)


@pytest.mark.parametrize(
    ("runs", "outcome", "text"),
    [
        (Runs(""), "note", "no run of this project has ended"),
        (Runs("passed"), "pass", "run r1 wrote their records"),
        (Runs("passed", "train: no such bucket"), "fail", "no such bucket"),
    ],
)
def test_the_artifact_store_is_judged_by_the_last_run_that_ended(runs: Runs, outcome: str, text: str) -> None:
    found = check_artifact_store(runs)  # type: ignore[arg-type]
    assert (found.outcome, text in found.detail) == (outcome, True)


class Slices:
    """Answers as an API server does, whose namespace `nowhere-system` has these EndpointSlices; None refuses the call."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items = items

    def call(self, method: str, path: str, *, query: dict[str, str]) -> dict[str, Any]:
        assert (method, path) == ("GET", "/apis/discovery.k8s.io/v1/namespaces/nowhere-system/endpointslices")
        assert query == {"labelSelector": "kubernetes.io/service-name=metrics"}
        if self.items is None:
            raise RefusedCallError(Refusal(status=403, message="forbidden", call=f"GET {path}", server="https://api"))
        return {"items": self.items}


def test_the_gateways_metrics_are_read_as_the_controller_reads_them(gateway: str) -> None:
    api: Any = Slices(None)
    refused = check_gateway_metrics(api, SeldonTable(gateway_metrics=f"{gateway}/stats/prometheus"))
    assert (refused.outcome, "cannot be read" in refused.detail) == ("fail", True), "this server knows no metrics"

    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 3\n")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/stats/prometheus"
    assert check_gateway_metrics(api, SeldonTable(gateway_metrics=url)).outcome == "pass"
    server.shutdown()
    server.server_close()
    assert check_gateway_metrics(api, SeldonTable(gateway_metrics=url)).outcome == "fail"
    assert check_gateway_metrics(api, SeldonTable(gateway_metrics=url, counters="executors")).outcome == "note"


@pytest.mark.parametrize(
    ("items", "outcome", "text"),
    [
        ([{"endpoints": [{}, {}]}], "note", "has 2 proxies"),
        ([{"endpoints": None}], "fail", "no Service metrics.nowhere-system selects a Pod"),
        (None, "note", "may not ask"),
    ],
)
def test_from_outside_the_cluster_the_api_server_says_whether_there_are_proxies(
    items: list[dict[str, Any]] | None, outcome: str, text: str
) -> None:
    api: Any = Slices(items)
    found = check_gateway_metrics(api, SeldonTable(gateway_metrics="http://metrics.nowhere-system:15020/stats/prometheus"))
    assert (found.outcome, text in found.detail) == (outcome, True), found
