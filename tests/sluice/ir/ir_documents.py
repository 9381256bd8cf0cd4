"""KFP IR written by hand, as small as each test needs it: one component that takes and gives, and a root around it."""

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
    """A component that takes ``text`` and ``model`` and gives ``out`` and ``made``; `fields` replace its own."""
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
    """A task's ``inputs`` with these parameters."""
    return {"parameters": parameters}


def document(tasks: Raw, *, components: Raw | None = None, executor: Raw | None = None, **root: Any) -> Raw:
    """A PipelineSpec; `root` adds to the outermost component."""
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
    """The only task of a pipeline, `fields` being its own."""
    return read(document({"step": task(**fields)})).root.body.tasks["step"]  # type: ignore[union-attr]
