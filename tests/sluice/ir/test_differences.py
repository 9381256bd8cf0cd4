"""Tests of the comparison of pipelines: every change that may change a run is a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ir_documents import MODEL, TEXT, document, read, step, task

from sluice.ir.differences import compare

if TYPE_CHECKING:
    from sluice.ir.graph import Pipeline

DATASET = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}


def flow(component: dict[str, Any] | None = None, executor: dict[str, Any] | None = None, **fields: Any) -> Pipeline:
    return read(document({"step": task(**fields)}, components={"comp-step": component or step()}, executor=executor))


def defaulting(text: str) -> dict[str, Any]:
    return step(inputDefinitions={"parameters": {"text": {**TEXT, "isOptional": True, "defaultValue": text}}})


def nested(selected: str) -> Pipeline:
    output = {"producerSubtask": selected, "outputParameterKey": "out"}
    inner = {
        "dag": {"tasks": {"one": task(), "two": task()}, "outputs": {"parameters": {"out": {"valueFromParameter": output}}}},
        "outputDefinitions": {"parameters": {"out": TEXT}},
    }
    return read(document({"inner": task("comp-inner")}, components={"comp-step": step(), "comp-inner": inner}))


def giving(kind: dict[str, Any]) -> Pipeline:
    return flow(step(outputDefinitions={"artifacts": {"made": kind}}))


def taking(kind: dict[str, Any]) -> Pipeline:
    return flow(step(inputDefinitions={"artifacts": {"model": kind}}))


def passing_on(**fields: Any) -> Pipeline:
    return flow(step(taskConfigPassthroughs=[{"field": "ENV"} | fields]))


def importing(kind: dict[str, Any], **fields: Any) -> Pipeline:
    importer = {"importer": {"artifactUri": {"constant": "s3://b/k"}, "typeSchema": kind["artifactType"], **fields}}
    return flow(executor=importer)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (flow(defaulting("a")), flow(defaulting("b")), {"input text"}),
        (nested("one"), nested("two"), {"output out"}),
        (flow(), flow(taskInfo={"name": "Say it"}), {"display name"}),
        (giving(MODEL), giving(DATASET), {"output made"}),
        (taking(MODEL), taking(DATASET), {"type of input model"}),
        (passing_on(), passing_on(applyToTask=True), {"passed to TaskConfig: ENV"}),
        (importing(MODEL), importing(DATASET, downloadToWorkspace=True), {"type", "copied into the workspace"}),
    ],
)
def test_a_change_is_reported_by_its_name(old: Pipeline, new: Pipeline, expected: set[str]) -> None:
    assert {each.what for each in compare(old, new)} == expected
    assert compare(old, old) == []


def test_a_change_of_the_pipeline_s_description_is_reported() -> None:
    raw = document({"step": task()})
    shown = raw | {"pipelineInfo": {"name": "small", "displayName": "Small"}, "defaultPipelineRoot": "gs://b"}
    assert [(each.place, each.what) for each in compare(read(raw), read(shown))] == [
        ("pipeline", "display name"),
        ("pipeline", "root"),
    ]
