"""Questions about the components of a pipeline that the compiler asks in several places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.ir.graph import Component, Container, Dag, Pipeline
from sluice.ir.placeholders import ExecutorInput, pieces_of, read_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

APPROVAL = "approval"
APPROVAL_BODY = "sluice.steps.production import wait_for_approval"
CREATE, DELETE = "argostub/createpvc", "argostub/deletepvc"


def is_python(container: Container) -> bool:
    """Whether an executor is run by the launcher: it takes KFP's executor input, and its image has Python."""
    parts = [*container.command, *container.args]
    takes = any(isinstance(piece, ExecutorInput) for part in parts if "{{$}}" in part for piece in pieces_of(read_argument(part)))
    return takes and any("python" in part for part in parts)


def is_approval(component: Component) -> bool:
    """Whether a component is sluice's approval step: its name says so, and its body is sluice's own."""
    return (
        component.name.removeprefix("comp-") == APPROVAL
        and isinstance(component.body, Container)
        and any(APPROVAL_BODY in part for part in component.body.command)
    )


def collected_components(pipeline: Pipeline) -> Iterator[str]:
    """Components that make artifacts which a loop collects."""
    for component in (pipeline.root, *pipeline.components.values()):
        if not isinstance(component.body, Dag):
            continue
        for task in component.body.tasks.values():
            if task.iterator is None:
                continue
            body = pipeline.component(task)
            for output in body.output_artifacts:
                yield from makers(pipeline, body, output)


def makers(pipeline: Pipeline, component: Component, output: str) -> Iterator[str]:
    """Components with an executor that make an output artifact."""
    if not isinstance(component.body, Dag):
        yield component.name
        return
    for source in component.body.artifacts.get(output, ()):
        yield from makers(pipeline, pipeline.component(component.body.tasks[source.task]), source.key)


def is_collected(pipeline: Pipeline, component: Component, output: str) -> bool:
    """Whether a DAG's output artifact is already a loop's list."""
    if not isinstance(component.body, Dag):
        return False
    for source in component.body.artifacts.get(output, ()):
        task = component.body.tasks[source.task]
        if task.iterator is not None or is_collected(pipeline, pipeline.component(task), source.key):
            return True
    return False
