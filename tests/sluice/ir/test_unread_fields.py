"""Tests of fields that Sluice does not read: it refuses those that may change a run, and it warns of the others."""

from __future__ import annotations

from typing import Any

import pytest
from ir_documents import document, read, step, task

from sluice.argo.compilation import Options
from sluice.argo.objects.workflows import lower_pipeline
from sluice.errors import DataError
from sluice.ir.lint import find_unread_fields


def unread(*documents: Any, matters: bool = True) -> list[tuple[str, str]]:
    return [(found.task, found.field) for found in find_unread_fields(read(*documents), matters=matters)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (document({"a": task(triggerPolicy={"strategy": "SOMETHING_ELSE"})}), ("a", "triggerPolicy.strategy SOMETHING_ELSE")),
        (document({"a": task(priority=5)}), ("a", "priority")),
        (document({"a": task(retryPolicy={"maxRetryCount": 1, "jitter": 2})}), ("a", "retryPolicy.jitter")),
        (document({"a": task()}, components={"comp-step": step(mystery=5)}), ("comp-step", "mystery")),
        (document({"a": task()}, executor={"container": {"image": "x", "newField": 3}}), ("exec-step", "container.newField")),
        (
            document({"a": task()}, components={"comp-step": step(taskConfigPassthroughs=[{"field": "DISKS"}])}),
            ("comp-step", "taskConfigPassthroughs.field DISKS"),
        ),
    ],
)
def test_an_unread_field_that_may_change_a_run_is_refused(raw: dict[str, Any], expected: tuple[str, str]) -> None:
    assert unread(raw) == [expected]
    refusals = lower_pipeline(read(raw), Options())[1].found
    assert [(each.task, each.field) for each in refusals] == [expected]
    assert refusals[0].hint


def test_an_unknown_setting_of_the_pipeline_is_refused() -> None:
    platform = {"platforms": {"kubernetes": {"pipelineConfig": {"semaphoreKey": "k"}}}}
    assert unread(document({"a": task()}), platform) == [("pipeline", "platforms.kubernetes.pipelineConfig.semaphoreKey")]


def test_an_unread_field_that_does_not_change_a_run_is_a_warning() -> None:
    raw = document({"a": task()}) | {"unknownTop": 9}
    other = {"platforms": {"vertex": {"x": 1}}}
    assert unread(raw, other) == []
    assert unread(raw, other, matters=False) == [("pipeline", "unknownTop"), ("pipeline", "platforms.vertex")]


def test_the_runtime_config_of_a_pipeline_job_is_a_warning() -> None:
    job = {"pipelineSpec": document({"a": task()}), "runtimeConfig": {"parameterValues": {"x": 1}}}
    assert unread(job, matters=False) == [("pipeline", "runtimeConfig")]


def test_the_error_names_a_field_that_must_be_text_and_is_not() -> None:
    raw = document({"a": task()}) | {"pipelineInfo": {"name": 5}}
    with pytest.raises(DataError, match=r"pipelineInfo\.name is 5, which is not text"):
        read(raw)
