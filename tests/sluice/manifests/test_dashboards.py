"""The dashboard and the alerts use only existing metrics and labels."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from manifest_objects import MANIFESTS, build, find

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence_updates import enter_state
from sluice.rollout.decisions.judgements import describe
from sluice.rollout.decisions.states import Phase, Request, State
from sluice.rollout.platforms.seldon import executors
from sluice.rollout.platforms.seldon.telemetry import Metrics

DASHBOARD: dict[str, Any] = json.loads((MANIFESTS / "dashboards" / "rollout.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [
    annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]
]
ALERTS = [rule for group in find("PrometheusRule", "sluice-rollouts")["spec"]["groups"] for rule in group["rules"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in ALERTS)]
EXECUTOR = executors.METRIC.removesuffix("_count")
EXECUTOR_LABELS = {"deployment_name", "predictor_name", "service", "code", "le"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def known() -> dict[str, set[str]]:
    """Return the labels of each series of the controller and of Seldon's executor."""
    found = {f"{EXECUTOR}{suffix}": EXECUTOR_LABELS for suffix in SUFFIXES["histogram"]}
    metrics = Metrics("churn")
    collectors: Any = metrics.registry._collector_to_names
    for collector in collectors:
        (family,) = collector.describe()
        labels = {*collector._labelnames} | ({"le"} if family.type == "histogram" else set())
        found |= {f"{family.name}{suffix}": labels for suffix in SUFFIXES[family.type]}
    return found


def series_in(expression: str) -> list[tuple[str, str]]:
    return re.findall(r"\b((?:sluice|seldon)_\w+)\b(?:\{([^}]*)\})?", expression)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_all_series_and_labels_exist(expression: str) -> None:
    found = series_in(expression)
    assert found or expression.startswith("vector(")
    for series, matchers in found:
        assert series in known(), series
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known()[series], expression
    grouped = {label.strip() for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in labels.split(",")}
    assert grouped <= {label for series, _ in found for label in known()[series]} | {"instance", "short"}, expression
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_label_values_are_values_that_the_code_writes(expression: str) -> None:
    request = Request(id="1", release="sha256:1", by="", at=0.0, steps=(5, 100))
    numbers = set(describe(enter_state(None, request, State(phase=Phase.STEP, step=0), RolloutTable()), RolloutTable()))
    assert set(re.findall(r'number="(\w+)"', expression)) <= numbers
    phases = {phase.value for phase in Phase} | {"step-1"}
    for pattern in re.findall(r'phase=~?"([^"]+)"', expression):
        for part in pattern.split("|"):
            assert any(re.fullmatch(part, phase) for phase in phases), pattern
    for outcome in re.findall(r'outcome="(\w+)"', expression):
        assert outcome in (Metrics.observe_round.__doc__ or "")


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


def test_each_metric_of_the_controller_is_shown() -> None:
    shown = {series for query in QUERIES for series, _ in series_in(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", series) for series in known()}
    assert families == {re.sub(r"_(bucket|sum|count)$", "", series) for series in shown}


def test_panels_do_not_overlap_and_have_descriptions() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_alerts_have_a_severity_a_summary_and_a_description() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_grafana_finds_the_dashboard() -> None:
    (found,) = build("dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["rollout.json"]) == DASHBOARD
