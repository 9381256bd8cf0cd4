"""The dashboards and the alerts use only existing metrics and labels."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from manifest_objects import MANIFESTS, build, find

from sluice.project.tables.drift import DriftTable
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence_updates import enter_state
from sluice.rollout.decisions.judgements import describe
from sluice.rollout.decisions.states import Phase, Request, State
from sluice.rollout.platforms.seldon.counters import executors
from sluice.rollout.platforms.seldon.telemetry import Metrics
from sluice.triggers.monitor.metrics import MonitorMetrics
from sluice.triggers.webhook.metrics import WebhookMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FILES = sorted((MANIFESTS / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
QUERIES = [
    query["expr"]
    for dashboard in DASHBOARDS.values()
    for query in (
        *(target for panel in dashboard["panels"] for target in panel["targets"]),
        *dashboard["annotations"]["list"],
    )
]
ALERTS = [
    rule
    for name in ("sluice-rollouts", "sluice-retraining")
    for group in find("PrometheusRule", name)["spec"]["groups"]
    for rule in group["rules"]
]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in ALERTS)]
EXECUTOR = executors.METRIC.removesuffix("_count")
EXECUTOR_LABELS = {"deployment_name", "predictor_name", "service", "code", "le"}
ARGO = {"argo_workflows_error_count": {"cause"}, "argo_workflows_cronworkflows_triggered_total": {"name", "namespace"}}
"""Series of Argo's controller (docs/metrics.md of Argo 4.1)."""
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
TARGET_LABELS = {"instance", "job"}
"""Labels that Prometheus adds."""
SERVICES = (MonitorMetrics().registry, WebhookMetrics().registry)


def list_series(*registries: CollectorRegistry) -> dict[str, set[str]]:
    """Return the labels of each series that Sluice exposes."""
    found: dict[str, set[str]] = {}
    for registry in registries:
        collectors: Any = registry._collector_to_names
        for collector in collectors:
            (family,) = collector.describe()
            labels = {*collector._labelnames} | ({"le"} if family.type == "histogram" else set())
            found |= {f"{family.name}{suffix}": labels for suffix in SUFFIXES[family.type]}
    return found


OWN = list_series(Metrics("churn").registry, *SERVICES)
KNOWN = OWN | ARGO | {f"{EXECUTOR}{suffix}": EXECUTOR_LABELS for suffix in SUFFIXES["histogram"]}


def series_in(expression: str) -> list[tuple[str, str]]:
    return re.findall(r"\b((?:sluice|seldon|argo_workflows)_\w+)\b(?:\{([^}]*)\})?", expression)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_all_series_and_labels_exist(expression: str) -> None:
    found = series_in(expression)
    assert found or expression.startswith("vector(")
    for series, matchers in found:
        assert series in KNOWN, series
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= KNOWN[series] | TARGET_LABELS, expression
    grouped = {label.strip() for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in labels.split(",")}
    assert grouped <= {label for series, _ in found for label in KNOWN[series]} | TARGET_LABELS | {"short"}, expression
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_label_values_are_values_that_the_code_writes(expression: str) -> None:
    request = Request(id="1", release="sha256:1", by="", at=0.0, steps=(5, 100))
    numbers = set(describe(enter_state(None, request, State(phase=Phase.STEP, step=0), RolloutTable()), RolloutTable()))
    assert set(re.findall(r'number="(\w+)"', expression)) <= numbers
    diverted = State(phase=Phase.STEP, step=0, returns_to=5).name
    phases = {phase.value for phase in Phase} | {"step-1", diverted}
    for pattern in re.findall(r'phase=~?"([^"]+)"', expression):
        for part in pattern.split("|"):
            assert any(re.fullmatch(part, phase) for phase in phases), pattern
    for series, matchers in series_in(expression):
        if series.startswith("sluice_controller"):
            for outcome in re.findall(r'outcome="(\w+)"', matchers):
                assert outcome in (Metrics.observe_round.__doc__ or "")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_label_values_of_the_services_exist_from_the_start(expression: str) -> None:
    """Prometheus sees no increase from a series that does not exist to its first value."""
    shown = [sample for registry in SERVICES for family in registry.collect() for sample in family.samples]
    for series, matchers in series_in(expression):
        for label, pattern in re.findall(r'(\w+)=~?"([^"$]+)"', matchers):
            if series.startswith(("sluice_monitor", "sluice_webhook")):
                values = {sample.labels[label] for sample in shown if sample.name == series}
                assert set(pattern.split("|")) <= values, (series, pattern)


def test_the_dashboard_counts_the_same_errors_as_the_controller() -> None:
    (pattern,) = {pattern for query in QUERIES for pattern in re.findall(r'code=~"([^"]+)"', query)}
    for code in ("200", "400", "401", "404", "429", "500", "502", "503", "504"):
        counts = executors.read_counts(f'{executors.METRIC}_count{{service="predictions",code="{code}"}} 1\n')
        assert bool(re.fullmatch(pattern, code)) == bool(counts.errors), code
    assert all('service="predictions"' in query for query in QUERIES if EXECUTOR in query)


def test_the_dashboard_draws_the_default_limits() -> None:
    settings = RolloutTable()
    assert f"vector({settings.evidence:g})" in QUERIES
    assert f"vector({settings.margin:g})" in QUERIES
    assert f"vector({DriftTable().threshold:g})" in QUERIES


def test_each_metric_is_shown() -> None:
    shown = {series for query in QUERIES for series, _ in series_in(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", series) for series in KNOWN.keys() - ARGO.keys()}
    assert families == {re.sub(r"_(bucket|sum|count)$", "", series) for series in shown}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_have_descriptions(name: str) -> None:
    cells: set[tuple[int, int]] = set()
    panels = DASHBOARDS[name]["panels"]
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_alerts_have_a_severity_a_summary_and_a_description() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_grafana_finds_the_dashboards() -> None:
    (found,) = build("dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in found["data"].items()} == DASHBOARDS
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", ["sluice-monitor", "sluice-webhook"])
def test_prometheus_finds_the_services(name: str) -> None:
    spec = find("ServiceMonitor", name)["spec"]
    service = find("Service", name)
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [one["port"] for one in spec["endpoints"]] == [port["name"] for port in service["spec"]["ports"]]
    allowed = [peer for rule in find("NetworkPolicy", name)["spec"]["ingress"] for peer in rule["from"]]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}} in allowed
