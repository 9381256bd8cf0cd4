"""Make the list of nodes by which KFP's API describes a run: attempts, drivers and containers among them, and no id of a node.

`answers/loops.json` is what a real KFP 2.17.0 answered about a run with loops, conditions and a failed step.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

WORKFLOW, EXECUTOR, DRIVER = "wf", "executor", "-driver"
Part = tuple[Any, ...]
"""A task of a run: its name, its state, and the tasks in it. A name that ends in ``-driver`` is that of a driver alone."""


def node_id(full_name: str) -> str:
    """Return the id that Argo gives a node: the 32-bit FNV-1a hash of its full name behind the workflow's name."""
    found = 2166136261
    for byte in full_name.encode():
        found = ((found ^ byte) * 16777619) & 0xFFFFFFFF
    return WORKFLOW if full_name == WORKFLOW else f"{WORKFLOW}-{found}"


def step_node(*path: str) -> str:
    """Return the id of the node of a task, from the names of the parts around it and its own."""
    return node_id(f"{_attempts(path[:-1])}.{path[-1]}")


def pod_of(*path: str) -> str:
    """Return the name of the pod of a task's container."""
    return f"{WORKFLOW}-system-container-impl-{node_id(_attempts((*path, EXECUTOR))).rpartition('-')[2]}"


def _attempts(path: Iterable[str]) -> str:
    return ".".join(f"{name}(0)" for name in (WORKFLOW, "root", *path))


def list_nodes(*parts: Part, start: datetime) -> list[dict[str, Any]]:
    """Return the nodes of a run whose pipeline has these tasks. Each one starts a second after the one before it."""
    found: list[dict[str, Any]] = []
    _add(found, WORKFLOW, WORKFLOW, "RUNNING", [("root", "RUNNING", *parts)])
    for second, node in enumerate(found):
        node |= {"start_time": start + timedelta(seconds=second), "end_time": start + timedelta(seconds=second + 30)}
    return found


def _add(found: list[dict[str, Any]], name: str, full: str, state: str, parts: list[Part]) -> None:
    """Add a node, its attempt, and the nodes in it: before each task its driver, and in it its container."""
    inside: list[Part] = []
    for part in parts:
        is_step = len(part) == 2 and not part[0].endswith(DRIVER) and part[1] != "SKIPPED"
        inside += [] if part[0].endswith(DRIVER) or part[0] == EXECUTOR else [(part[0] + DRIVER, "SUCCEEDED")]
        inside.append((*part, (EXECUTOR, part[1])) if is_step and part[0] != EXECUTOR else part)
    for shown, children in ((name, [f"{full}(0)"]), (f"{name}(0)", [f"{full}(0).{part[0]}" for part in inside])):
        node = {"display_name": shown, "state": state, "task_id": f"id-{full}-{shown}", "pod_name": None, "error": None}
        found.append(node | {"child_tasks": [{"pod_name": node_id(child)} for child in children]})
    for inner, its_state, *its_parts in inside:
        _add(found, inner, f"{full}(0).{inner}", its_state, its_parts)
