"""Whether the names that a pipeline uses exist, and nothing waits for itself or holds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from sluice.ir.graph import Component, Dag, FromFinalStatus, FromInput, FromTask, Task

if TYPE_CHECKING:
    from collections.abc import Mapping


_DEEPEST = 90
"""Levels of pipelines in pipelines. Argo ends a run at 100 templates in each other; a step and limited loops need some too."""


def check_components(root: Component, components: Mapping[str, Component]) -> None:
    """Check a whole pipeline.

    Raises:
        ValueError: A name does not exist, tasks wait for each other, components hold each other, or too deep; it says which.
    """
    for component in (root, *components.values()):
        _check_component(component, components)
    _check_nesting(components)


def _check_component(component: Component, components: Mapping[str, Component]) -> None:
    """Every name that a DAG uses exists, and its tasks wait for each other in no circle.

    Raises:
        ValueError: A name does not, or they do; it says which.
    """
    if not isinstance(component.body, Dag):
        return
    tasks = component.body.tasks
    for task in tasks.values():
        if task.component not in components:
            refuse_missing(task.name, f"component {task.component!r}")
    for task in tasks.values():
        _check_task(task, component, components)
    for output in (*component.body.parameters.values(), *component.body.artifacts.values()):
        for selected in output:
            _check_output(component.name, selected, tasks, components)
    _check_order(component.name, tasks)


def _check_task(task: Task, component: Component, components: Mapping[str, Component]) -> None:
    assert isinstance(component.body, Dag)  # noqa: S101 - the caller looked
    for given in _input_sources(task):
        if given.name not in component.inputs and given.name not in component.input_artifacts:
            refuse_missing(task.name, f"input {given.name!r} of {component.name}")
    loop = task.iterator
    if loop and isinstance(loop.items, FromInput):
        given_names = task.artifacts if loop.over_artifacts else task.parameters
        if loop.items.name not in given_names:
            refuse_missing(task.name, f"input {loop.items.name!r} of the loop")
    for name in task.after:
        if name not in component.body.tasks:
            refuse_missing(task.name, f"task {name!r}")
    for made in _task_sources(task):
        _check_output(task.name, made, component.body.tasks, components)


def _check_output(
    user: str, source: FromTask | FromFinalStatus, tasks: Mapping[str, Task], components: Mapping[str, Component]
) -> None:
    if source.task not in tasks:
        refuse_missing(user, f"task {source.task!r}")
    producer = components[tasks[source.task].component]
    if isinstance(source, FromTask) and source.key not in producer.outputs and source.key not in producer.output_artifacts:
        refuse_missing(user, f"output {source.key!r} of task {source.task!r}")


def refuse_missing(user: str, what: str) -> NoReturn:
    """Say that a name is used and does not exist.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{user} uses {what}, which does not exist")


def _task_sources(task: Task) -> list[FromTask | FromFinalStatus]:
    parameters = [b.source for b in task.parameters.values() if isinstance(b.source, FromTask | FromFinalStatus)]
    return [*parameters, *(s for s in task.artifacts.values() if isinstance(s, FromTask))]


def _input_sources(task: Task) -> list[FromInput]:
    parameters = [b.source for b in task.parameters.values() if isinstance(b.source, FromInput)]
    return [*parameters, *(s for s in task.artifacts.values() if isinstance(s, FromInput))]


def _check_order(name: str, tasks: Mapping[str, Task]) -> None:
    waiting = {task.name: {*task.after, *(s.task for s in _task_sources(task))} for task in tasks.values()}
    users: dict[str, list[str]] = {}
    for task, needs in waiting.items():
        for need in needs:
            users.setdefault(need, []).append(task)
    free = [task for task, needs in waiting.items() if not needs]
    while free:
        done = free.pop()
        for user in users.get(done, ()):
            waiting[user].discard(done)
            if not waiting[user]:
                free.append(user)
        del waiting[done]
    if waiting:
        raise ValueError(f"tasks of {name} wait for each other: {', '.join(sorted(waiting))}")


def _check_nesting(components: Mapping[str, Component]) -> None:
    """No component holds itself, however deep, and none goes too deep.

    Raises:
        ValueError: One does; it says which.
    """
    left = {
        name: {t.component for t in c.body.tasks.values()} if isinstance(c.body, Dag) else set() for name, c in components.items()
    }
    for _ in range(_DEEPEST):
        flat = [name for name, held in left.items() if not held]
        for name in flat:
            del left[name]
        if not flat:
            break
        for held in left.values():
            held.difference_update(flat)
    else:
        if left:
            raise ValueError(f"pipelines are nested more than {_DEEPEST} levels deep, which no engine runs")
    if left:
        raise ValueError(f"components hold themselves or each other: {', '.join(sorted(left))}")
