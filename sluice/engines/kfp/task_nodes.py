"""Which nodes of a run on KFP are the tasks of its pipeline. Pure functions.

A task of the pipeline is one node of the run, or one for each item of a loop. Around it there are others: a driver, which
decides whether and with what a task runs, and inside it a node ``executor`` for its container. The pipeline's IR says which names
are tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.ir.graph import Dag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluice.engines.kfp.node_trees import Node
    from sluice.ir.graph import Component, Pipeline

DRIVER, EXECUTOR = "-driver", "executor"

_TEMPLATES = {
    DRIVER: ("system-container-driver", "system-dag-driver"),
    EXECUTOR: ("system-container-impl", "retry-system-container-impl"),
    "": ("system-importer",),
}
"""Kind of a node with a pod → names that KFP gives its template. A pod's name contains it, and the API does not tell it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the pipeline.

    Attributes:
        name: Its name.
        component: Name of its component, for example ``gate``.
        depth: Number of enclosing parts of the pipeline.
        is_group: Whether it contains other tasks.
        parts: The tasks that it contains.
    """

    name: str
    component: str
    depth: int = 0
    is_group: bool = False
    parts: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskNode:
    """A task of the pipeline and the node that it is in a run.

    Attributes:
        task: The task.
        node: The node: the task's own, or that of its driver if it failed.
    """

    task: Task
    node: Node

    @property
    def driver_failed(self) -> bool:
        """Whether the node is that of the driver, so that the task itself never started."""
        return self.node.name == f"{self.task.name}{DRIVER}"

    @property
    def executor(self) -> Node | None:
        """The node of the container; None if the task contains other tasks, is an importer, or has not got so far."""
        return next((part for part in self.node.parts if part.name == EXECUTOR), None)

    @property
    def cached(self) -> bool:
        """Whether the task took the result of an earlier run: then it succeeded without its container."""
        states = [one.fields.get("state") for one in (self.node, self.executor) if one]
        return states == ["SUCCEEDED", "SKIPPED"]

    def pods(self) -> list[str]:
        """Return the names that the task's pod may have, and the node's id, by which KFP's archive of logs knows the pod.

        The list is empty if the task has had no pod.
        """
        pod = self.executor or self.node
        while pod.attempts:
            pod = pod.attempts[-1]
        if (pod.parts and pod.name != EXECUTOR) or self.cached or self.task.is_group > self.driver_failed:
            return []
        kind = DRIVER if self.driver_failed else EXECUTOR if self.executor else ""
        workflow, _, number = pod.id.rpartition("-")
        return [*(f"{workflow}-{template}-{number}" for template in _TEMPLATES[kind]), pod.id]


def read_tasks(pipeline: Pipeline, component: Component | None = None, depth: int = 0) -> tuple[Task, ...]:
    """Return the tasks of a pipeline, or of a part of it."""
    body = (component or pipeline.root).body
    if not isinstance(body, Dag):
        return ()
    found = []
    for task in body.tasks.values():
        inner = pipeline.component(task)
        parts = read_tasks(pipeline, inner, depth + 1)
        name = inner.name.removeprefix("comp-")
        found.append(Task(task.name, name, depth, is_group=isinstance(inner.body, Dag), parts=parts))
    return tuple(found)


def match_nodes(tasks: Sequence[Task], root: Node | None) -> Iterator[TaskNode]:
    """Yield the tasks that a run has got to, each part before what it contains, in the order of their start.

    Args:
        tasks: The tasks, as `read_tasks` returns them.
        root: The root of the tree of the run's nodes; None if there is none yet.
    """
    known = {task.name: task for task in tasks}
    parts = root.parts if root else []
    started = {part.name for part in parts}
    for part in parts:
        if task := known.get(part.name):
            yield TaskNode(task, part)
            yield from match_nodes(task.parts, part)
        elif (task := known.get(part.name.removesuffix(DRIVER))) and part.name.endswith(DRIVER):
            if part.fields.get("state") == "FAILED" and task.name not in started:
                yield TaskNode(task, part)
        elif not part.name.endswith(DRIVER):  # what KFP puts around the tasks: the root, and the items of a loop
            yield from match_nodes(tasks, part)
