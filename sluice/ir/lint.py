"""Checks over the graph that no target is needed for, and those for KFP's own backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.ir.graph import Constant, Container, Dag, Unknown
from sluice.ir.placeholders import Concat, IfPresent, Text, Unreadable, pieces_of, read_argument
from sluice.ir.reading import is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluice.ir.graph import Component, Pipeline, Task
    from sluice.ir.placeholders import Argument


@dataclass(frozen=True, slots=True)
class Finding:
    """One construct that a target cannot express.

    Attributes:
        task: Where it stands: task names from the outermost DAG inwards, joined by dots.
        field: The field of the IR.
        reason: What cannot be expressed.
        hint: What to do instead.
    """

    task: str
    field: str
    reason: str
    hint: str


def walk(pipeline: Pipeline) -> Iterator[tuple[str, Task, Component]]:
    """Every task of every DAG that is reached, with its path and its component."""
    yield from _walk(pipeline, pipeline.root, "")


def _walk(pipeline: Pipeline, component: Component, path: str) -> Iterator[tuple[str, Task, Component]]:
    if not isinstance(component.body, Dag):
        return
    for task in component.body.tasks.values():
        place = f"{path}.{task.name}" if path else task.name
        inner = pipeline.component(task)
        yield place, task, inner
        yield from _walk(pipeline, inner, place)


def find_rounded(pipeline: Pipeline) -> list[Finding]:
    """Whole numbers of 2**53 and more: KFP's compiler writes them as doubles, so what the IR holds may be another number."""
    found = []
    for path, task, component in walk(pipeline):
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
    """Fields of the IR that nothing here reads: those that a run may differ by, or the others."""
    reason = "Sluice does not know this" + ("; a run might do something else with it" if matters else ", and does without it")
    hint = "Remove it, or keep to KFP's backend; a newer Sluice may know it."
    return [Finding(each.place, each.field, reason, hint) for each in pipeline.unread if each.matters is matters]


def _rounded(path: str, field: str) -> Finding:
    return Finding(
        path,
        field,
        "KFP's compiler rounds whole numbers of 2**53 and more to doubles",
        "Give the number as a string, and parse it.",
    )


def find_unsupported_by_kfp(pipeline: Pipeline) -> list[Finding]:
    """What KFP's backend does not run, as read from its source (2026-08)."""
    found = []
    for path, task, component in walk(pipeline):
        if task.iterator and task.iterator.over_artifacts:
            found.append(
                Finding(
                    path, "artifactIterator", "KFP's backend has no loop over artifacts", "Loop over parameters, or target argo."
                )
            )
        if isinstance(component.body, Unknown):
            found.append(
                Finding(path, "executor", f"{component.body.kind} is run by Vertex AI alone", "Use a component with an image.")
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
                "KFP's backend resolves IfPresent at the top alone, and Concat nowhere",
                "Write the text out, or target argo.",
            )
        for piece in pieces_of(argument):
            if isinstance(piece, Unreadable):
                yield Finding(
                    path, "args", f"the placeholder {piece.text!r} is not known", "Use one of KFP's documented placeholders."
                )


def _nested(argument: Argument) -> bool:
    return isinstance(argument, IfPresent) and not all(isinstance(item, Text) for item in (*argument.then, *argument.otherwise))
