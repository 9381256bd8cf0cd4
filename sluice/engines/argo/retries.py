"""Running a failed Workflow again from the steps that failed. Pure functions of the object.

Argo's own clients do the same through its server (``FormulateRetryWorkflow`` in argo-workflows 4.1): nodes that failed and
everything after them are removed, and the parts of the pipeline around them run again. The results of all other steps stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.engines.argo.node_storage import read_nodes, with_nodes
from sluice.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Node = Mapping[str, Any]

_FAILED = frozenset({"Failed", "Error"})
_EXECUTIONS = frozenset({"Pod", "Container", "HTTP", "Plugin", "Suspend"})
_AROUND = frozenset({"DAG", "Steps", "StepGroup", "TaskGroup", "Retry"})
_COMPLETED_LABEL = "workflows.argoproj.io/completed"
_ARCHIVING_LABEL = "workflows.argoproj.io/workflow-archiving-status"


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """What a retry changes.

    Attributes:
        workflow: The Workflow as it must be stored. Its resourceVersion is that of the object that was read.
        pods: Ids of the nodes whose pods must be deleted first, because the new pods have the same names.
        steps: Names of the steps that failed and run again.
    """

    workflow: dict[str, Any]
    pods: frozenset[str]
    steps: tuple[str, ...]


def plan_retry(workflow: Mapping[str, Any], *, now: str) -> RetryPlan:
    """Plan the retry of a failed run.

    Args:
        workflow: The Workflow as it is stored.
        now: Time as Kubernetes writes it.

    Raises:
        StateError: The run has not failed.
    """
    name, phase = workflow["metadata"]["name"], (workflow.get("status") or {}).get("phase", "Pending")
    if phase not in _FAILED:
        raise StateError(
            f"run {name} is {phase}, and only a failed run can be retried", hint=f"`sluice logs {name}` shows what it did."
        )
    nodes = read_nodes(workflow)
    failed = _find_failed(nodes)
    removed = {below for each in failed for below in _descendants(nodes, each)}
    removed |= {key for key, node in nodes.items() if node.get("phase") == "Omitted"}
    removed |= {key for key, node in nodes.items() if str(node["name"]).startswith(f"{name}.onExit")}
    kept = {key: _prepare(node, removed, now) for key, node in nodes.items() if key not in removed}
    pods = frozenset(key for key in removed if nodes[key]["type"] == "Pod")
    steps = tuple(sorted({str(nodes[key].get("displayName") or nodes[key]["name"]) for key in failed}))
    return RetryPlan(_reopen(workflow, kept, now), pods, steps)


def _find_failed(nodes: Mapping[str, Node]) -> set[str]:
    """Return the steps that failed and that nothing after them has survived (a step may continue on an error)."""
    failed = {key for key, node in nodes.items() if node.get("phase") in _FAILED and node["type"] in _EXECUTIONS}
    retries = {child: key for key, node in nodes.items() if node["type"] == "Retry" for child in node.get("children") or ()}
    return {
        key
        for key in failed
        if not any(nodes[below].get("phase") == "Succeeded" for below in _descendants(nodes, retries.get(key, key)) - {key})
    }


def _descendants(nodes: Mapping[str, Node], start: str) -> set[str]:
    """Return a node and all nodes after it."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        key = waiting.pop()
        if key not in found and key in nodes:
            found.add(key)
            waiting += nodes[key].get("children") or ()
    return found


def _prepare(node: Node, removed: set[str], now: str) -> dict[str, Any]:
    """Return a node that stays: without references to removed nodes, and running again if it is a part that failed."""
    prepared = dict(node)
    for key in ("children", "outboundNodes"):
        if node.get(key):
            prepared[key] = [child for child in node[key] if child not in removed]
    if node["type"] in _AROUND and node.get("phase") in _FAILED:
        prepared = {key: value for key, value in prepared.items() if key not in {"message", "finishedAt"}}
        prepared |= {"phase": "Running", "startedAt": now}
    return prepared


def _reopen(workflow: Mapping[str, Any], nodes: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the Workflow without the marks of its end."""
    metadata = dict(workflow["metadata"])
    metadata["labels"] = {
        key: value for key, value in (metadata.get("labels") or {}).items() if key not in {_COMPLETED_LABEL, _ARCHIVING_LABEL}
    }
    spec = {key: value for key, value in workflow["spec"].items() if key != "shutdown"}
    if spec.get("activeDeadlineSeconds") == 0:
        del spec["activeDeadlineSeconds"]
    before = workflow["status"]
    dropped = {"finishedAt", "message", "persistentVolumeClaims"}
    status = {key: value for key, value in before.items() if key not in dropped}
    if stored := status.get("storedWorkflowTemplateSpec"):
        status["storedWorkflowTemplateSpec"] = {key: value for key, value in stored.items() if key != "shutdown"}
    conditions = [each for each in before.get("conditions") or () if each.get("type") != "Completed"]
    changes = {"phase": "", "startedAt": now, "conditions": [*conditions, {"type": "Completed", "status": "False"}]}
    return with_nodes({**workflow, "metadata": metadata, "spec": spec, "status": status}, nodes, **changes)
