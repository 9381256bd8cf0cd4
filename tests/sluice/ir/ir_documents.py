"""Small KFP IR for tests: one component with inputs and outputs, and a root that calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sluice.ir.reading import parse_ir

if TYPE_CHECKING:
    from sluice.ir.graph import Pipeline, Task

Raw = dict[str, Any]
TEXT: Raw = {"parameterType": "STRING"}
MODEL: Raw = {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}


def step(**fields: Any) -> Raw:
    """Return a component with the inputs ``text`` and ``model`` and the outputs ``out`` and ``made``; `fields` replace fields."""
    return {
        "executorLabel": "exec-step",
        "inputDefinitions": {
            "parameters": {"text": {**TEXT, "isOptional": True}},
            "artifacts": {"model": {**MODEL, "isOptional": True}},
        },
        "outputDefinitions": {"parameters": {"out": TEXT}, "artifacts": {"made": MODEL}},
    } | fields


def task(component: str = "comp-step", **fields: Any) -> Raw:
    return {"componentRef": {"name": component}, "taskInfo": {"name": "step"}} | fields


def given(**parameters: Any) -> Raw:
    """Return the ``inputs`` of a task that gives these parameters."""
    return {"parameters": parameters}


def document(tasks: Raw, *, components: Raw | None = None, executor: Raw | None = None, **root: Any) -> Raw:
    """Return a PipelineSpec; `root` adds fields to the outermost component."""
    return {
        "components": {"comp-step": step()} if components is None else components,
        "deploymentSpec": {"executors": {"exec-step": executor or {"container": {"image": "step:1"}}}},
        "pipelineInfo": {"name": "small"},
        "root": {"dag": {"tasks": tasks}} | root,
        "schemaVersion": "2.1.0",
    }


def read(*documents: Any) -> Pipeline:
    return parse_ir(yaml.safe_dump_all(documents))


def read_task(**fields: Any) -> Task:
    """Return the only task of a pipeline; `fields` are added to the task."""
    return read(document({"step": task(**fields)})).root.body.tasks["step"]  # type: ignore[union-attr]
