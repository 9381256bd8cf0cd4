"""Checks of the graph that need no target, and checks for KFP's own backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.ir.graph import Constant, Container, Dag, Unknown
from sluice.ir.placeholders import Concat, IfPresent, Text, UnknownPlaceholder, pieces_of, read_argument
from sluice.ir.reading import is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.ir.graph import Component, Pipeline, Task
    from sluice.ir.placeholders import Argument


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about a pipeline: a construct that a target cannot express, or a warning.

    Attributes:
        task: Task names from the outermost DAG inwards, joined by dots.
        field: Field of the IR.
        reason: Why the construct is a problem.
        hint: What the author can do instead.
    """

    task: str
    field: str
    reason: str
    hint: str


def walk_tasks(pipeline: Pipeline) -> Iterator[tuple[str, Task, Component]]:
    """Yield every task that a run can reach, with its path and its component."""
    yield from _walk(pipeline, pipeline.root, "")


def _walk(pipeline: Pipeline, component: Component, path: str) -> Iterator[tuple[str, Task, Component]]:
    if not isinstance(component.body, Dag):
        return
    for task in component.body.tasks.values():
        place = f"{path}.{task.name}" if path else task.name
        inner = pipeline.component(task)
        yield place, task, inner
        yield from _walk(pipeline, inner, place)


def find_rounded_numbers(pipeline: Pipeline) -> list[Finding]:
    """Find whole numbers of 2**53 and more. KFP's compiler writes them as doubles, and so the IR may hold another number."""
    found = []
    for path, task, component in walk_tasks(pipeline):
        for name, binding in task.parameters.items():
            kind = component.inputs[name].type if name in component.inputs else None
            if isinstance(binding.source, Constant) and not is_exact(binding.source.value, kind):
                found.append(_rounded(path, f"input {name}"))
        if task.iterator and isinstance(task.iterator.items, Constant) and not is_exact(task.iterator.items.value):
            found.append(_rounded(path, "items"))
    for component in (pipeline.root, *pipeline.components.values()):
        for name, parameter in component.inputs.items():
            if parameter.has_default and not is_exact(parameter.default, parameter.type):
                found.append(_rounded(component.name, f"default of {name}"))
    return found


def find_unread_fields(pipeline: Pipeline, *, matters: bool) -> list[Finding]:
    """Find fields of the IR that Sluice does not read.

    Args:
        pipeline: The pipeline.
        matters: Whether to find the fields that may change what a run does, or the other fields.
    """
    reason = "Sluice does not know this field" + (", which may change what a run does" if matters else " and ignores it")
    hint = "Remove the field, use KFP's backend, or try a newer version of Sluice."
    return [Finding(each.place, each.field, reason, hint) for each in pipeline.unread if each.matters is matters]


def _rounded(path: str, field: str) -> Finding:
    return Finding(
        path,
        field,
        "KFP's compiler rounds whole numbers of 2**53 and more to doubles",
        "Pass the number as a string, and parse it in the step.",
    )


def find_unsupported_by_kfp(pipeline: Pipeline) -> list[Finding]:
    """Find constructs that KFP's backend does not run, according to its source code (2026-08)."""
    found = []
    for path, task, component in walk_tasks(pipeline):
        if task.iterator and task.iterator.over_artifacts:
            found.append(
                Finding(
                    path,
                    "artifactIterator",
                    "KFP's backend has no loop over artifacts",
                    "Loop over parameters, or use --target argo.",
                )
            )
        if isinstance(component.body, Unknown):
            found.append(
                Finding(path, "executor", f"only Vertex AI runs {component.body.kind}", "Use a component with an image instead.")
            )
        if isinstance(component.body, Container):
            found += _container(path, component.body)
    return found


def _container(path: str, container: Container) -> Iterator[Finding]:
    for text in (*container.command, *container.args):
        argument = read_argument(text)
        if isinstance(argument, Concat) or _nested(argument):
            yield Finding(
                path,
                "args",
                "KFP's backend resolves IfPresent only at the top level, and it does not resolve Concat",
                "Write the text without them, or use --target argo.",
            )
        for piece in pieces_of(argument):
            if isinstance(piece, UnknownPlaceholder):
                yield Finding(
                    path,
                    "args",
                    f"KFP does not document the placeholder {piece.text!r}",
                    "Use one of KFP's documented placeholders.",
                )


def _nested(argument: Argument) -> bool:
    return isinstance(argument, IfPresent) and not all(isinstance(item, Text) for item in (*argument.then, *argument.otherwise))
