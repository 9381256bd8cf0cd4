"""Answering the approval that a suspended Workflow waits for. Pure functions of the object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.engines.argo.node_storage import read_nodes, with_nodes
from sluice.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping


def plan_answer(workflow: Mapping[str, Any], values: Mapping[str, str], *, message: str, now: str) -> tuple[dict[str, Any], str]:
    """Return the Workflow in which the waiting step has its answer, and the name of that step.

    Args:
        workflow: The Workflow as it is stored.
        values: The answer: output of the step → text. Outputs that are not given get their defaults.
        message: What Argo shows at the step.
        now: Time as Kubernetes writes it.

    Raises:
        StateError: No step waits, several do, or an output that has no default is not given.
    """
    run = workflow["metadata"]["name"]
    nodes = read_nodes(workflow)
    waiting = [key for key, node in nodes.items() if node["type"] == "Suspend" and node.get("phase") == "Running"]
    if len(waiting) != 1:
        names = ", ".join(sorted(str(nodes[key].get("displayName")) for key in waiting))
        raise StateError(
            f"{len(waiting)} steps of run {run} wait for an answer ({names})" if waiting else f"run {run} waits for no answer",
            hint="`sluice runs show` shows its steps." if not waiting else "Answer them one by one in Argo's user interface.",
        )
    node = nodes[waiting[0]]
    outputs = dict(node.get("outputs") or {})
    if outputs.get("parameters"):
        outputs["parameters"] = [_answer(run, parameter, values) for parameter in outputs["parameters"]]
    ended = {"phase": "Succeeded", "finishedAt": now, "message": message}
    changed = {**nodes, waiting[0]: {**node, **ended, **({"outputs": outputs} if outputs else {})}}
    spec = {key: value for key, value in workflow["spec"].items() if key != "suspend"}
    return with_nodes({**workflow, "spec": spec}, changed), str(node.get("displayName") or node["name"])


def _answer(run: str, parameter: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    source = parameter.get("valueFrom") or {}
    if "supplied" not in source:
        return dict(parameter)
    name = str(parameter["name"])
    if name not in values and "default" not in source:
        raise StateError(
            f"the waiting step of run {run} needs a value for its output {name!r}", hint="Answer it in Argo's user interface."
        )
    kept = {key: value for key, value in parameter.items() if key != "valueFrom"}
    return {**kept, "value": values.get(name, source.get("default"))}
