"""Checks of the names in a pipeline: every name exists, and no task waits for itself, and no component contains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from sluice.ir.graph import Component, Dag, FromFinalStatus, FromInput, FromTask, Task

if TYPE_CHECKING:
    from collections.abc import Mapping


_MAX_DEPTH = 90
"""Maximum number of nested pipelines.

Argo ends a run that nests more than 100 templates. The steps, and loops with limited parallelism, need some of these 100.
"""


def check_components(root: Component, components: Mapping[str, Component]) -> None:
    """Check a whole pipeline.

    Raises:
        ValueError: A name does not exist, tasks wait for each other, components contain each other, or pipelines are nested too
            deeply. The message names them.
    """
    for component in (root, *components.values()):
        _check_component(component, components)
    _check_nesting(components)


def _check_component(component: Component, components: Mapping[str, Component]) -> None:
    """Check that every name in a DAG exists, and that no tasks wait for each other.

    Raises:
        ValueError: A name does not exist, or tasks wait for each other. The message names them.
    """
    if not isinstance(component.body, Dag):
        return
    tasks = component.body.tasks
    for task in tasks.values():
        if task.component not in components:
            raise_missing(task.name, f"component {task.component!r}")
    for task in tasks.values():
        _check_task(task, component, components)
    for output in (*component.body.parameters.values(), *component.body.artifacts.values()):
        for selected in output:
            _check_output(component.name, selected, tasks, components)
    _check_order(component.name, tasks)


def _check_task(task: Task, component: Component, components: Mapping[str, Component]) -> None:
    assert isinstance(component.body, Dag)  # noqa: S101 - the caller checks the type
    for given in _input_sources(task):
        if given.name not in component.inputs and given.name not in component.input_artifacts:
            raise_missing(task.name, f"input {given.name!r} of {component.name}")
    loop = task.iterator
    if loop and isinstance(loop.items, FromInput):
        given_names = task.artifacts if loop.over_artifacts else task.parameters
        if loop.items.name not in given_names:
            raise_missing(task.name, f"input {loop.items.name!r} of the loop")
    for name in task.after:
        if name not in component.body.tasks:
            raise_missing(task.name, f"task {name!r}")
    for made in _task_sources(task):
        _check_output(task.name, made, component.body.tasks, components)


def _check_output(
    user: str, source: FromTask | FromFinalStatus, tasks: Mapping[str, Task], components: Mapping[str, Component]
) -> None:
    if source.task not in tasks:
        raise_missing(user, f"task {source.task!r}")
    producer = components[tasks[source.task].component]
    if isinstance(source, FromTask) and source.key not in producer.outputs and source.key not in producer.output_artifacts:
        raise_missing(user, f"output {source.key!r} of task {source.task!r}")


def raise_missing(user: str, what: str) -> NoReturn:
    """Raise the error for a name that does not exist.

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
    """Check that no component contains itself, directly or through others, and that pipelines are not nested too deeply.

    Raises:
        ValueError: The check fails. The message names the components.
    """
    left = {
        name: {t.component for t in c.body.tasks.values()} if isinstance(c.body, Dag) else set() for name, c in components.items()
    }
    for _ in range(_MAX_DEPTH):
        flat = [name for name, held in left.items() if not held]
        for name in flat:
            del left[name]
        if not flat:
            break
        for held in left.values():
            held.difference_update(flat)
    else:
        if left:
            raise ValueError(f"pipelines are nested more than {_MAX_DEPTH} levels deep, which no engine runs")
    if left:
        raise ValueError(f"components contain themselves or each other: {', '.join(sorted(left))}")
