"""Tests with random graphs: the object is valid and consistent, only executors have pods, and the bytes are always the same."""

from __future__ import annotations

import copy

import pytest
from argo_models import check_model
from argo_pipelines import KINDS, executor_tasks
from argo_references import check_references, pods
from hypothesis import HealthCheck, Phase, given, settings
from random_pipelines import pipelines

from sluice.argo.compilation import Options
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.objects.yaml_text import to_yaml
from sluice.ir.graph import Component, Container, Dag, Parameter, ParameterType, Pipeline, Task

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]
"""All phases except shrinking, because the shrinking of a failing example takes minutes."""

REASONS = ("Argo downloads these in different ways", "a list of imported artifacts")
"""Reasons for which a random pipeline may be refused."""


def check(pipeline: Pipeline, options: Options) -> None:
    document, refusals = lower_pipeline(pipeline, options)
    unexpected = [refusal for refusal in refusals.found if not any(reason in refusal.reason for reason in REASONS)]
    assert unexpected == []
    if refusals.found:
        return
    check_model(document)
    check_references(document)
    assert pods(document) == executor_tasks(pipeline)
    again = lower_pipeline(copy.deepcopy(pipeline), options)[0]
    assert to_yaml(again) == to_yaml(document)


@settings(max_examples=50, deadline=None, suppress_health_check=CHECKS, phases=QUICK)
@given(pipelines())
def test_a_random_pipeline_lowers_to_a_valid_object(pipeline: Pipeline) -> None:
    check(pipeline, Options())


def test_unusual_names_become_valid_and_distinct_in_argo() -> None:
    made = Component("comp-1st", Container("i", ("python3",), ("{{$}}",)), outputs={"{{x}}": Parameter(ParameterType.STRING)})
    tasks = {name: Task(name, name, "comp-1st") for name in ("1st", "1 st", "1-st", "a" * 300, "A" * 300)}
    tasks["last"] = Task("last", "last", "comp-1st", after=tuple(tasks))
    pipeline = Pipeline("p", "", "", Component("root", Dag(tasks)), {"comp-1st": made})
    check(pipeline, Options())
    entry, step = lower_pipeline(pipeline, Options())[0]["spec"]["templates"]
    names = [task["name"] for task in entry["dag"]["tasks"]]
    assert names[:3] == ["step-1st", "step-1-st", "step-1-st-2"], "Argo accepts no digit in front of a waiting task's name"
    assert len(set(names)) == len(names) == 6
    assert "{{x}}" not in step["outputs"]["parameters"][0]["valueFrom"]["path"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("root", ["", "s3://bucket/prefix", "gs://bucket"])
def test_random_pipelines_lower_to_valid_objects_of_every_kind_for_every_store(kind: str, root: str) -> None:
    driver = "gcs" if root.startswith("gs") else "s3"
    options = Options(kind=kind, schedules=("0 6 * * *",), security="restricted", store=Store(driver, root), cache_ttl="24h")

    @settings(max_examples=100, deadline=None, suppress_health_check=CHECKS)
    @given(pipelines(budget=30))
    def hold(pipeline: Pipeline) -> None:
        check(pipeline, options)

    hold()
