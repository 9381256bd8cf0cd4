"""What a Workflow's status says about a run: its steps as a tree, and its outcome. Pure functions of the object."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.wire_json import from_wire
from sluice.carried_records import DETAIL, RECORD
from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.argo.node_storage import read_nodes
from sluice.engines.argo.workflow_objects import PIPELINE_LABEL
from sluice.engines.outcomes import OUTPUT, FinishedStep, conclude, find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Node = Mapping[str, Any]

GROUPS = frozenset({"DAG", "Steps"})
LEAVES = frozenset({"Pod", "Suspend", "Container", "HTTP", "Plugin", "Retry", "Skipped"})
_OUTCOMES = {
    "Pending": "pending",
    "Running": "running",
    "Succeeded": "pass",
    "Skipped": "skipped",
    "Omitted": "skipped",
    "Failed": "fail",
    "Error": "fail",
}
_STATES = {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}


def describe_workflow(workflow: Mapping[str, Any], *, now: float, ui_url: str = "") -> RunStatus:
    """Describe a run.

    Args:
        workflow: The Workflow.
        now: Seconds since the epoch.
        ui_url: URL of Argo's user interface; empty if there is none.

    Raises:
        UnsupportedError: The steps are not in the object.
    """
    nodes = read_nodes(workflow)
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    steps = tuple(_walk(nodes, str(metadata["name"])))
    paths = find_paths(steps)
    finished = [_finish(nodes[step.id], step, paths[step.id]) for step in steps if not step.is_group]
    state = _state(workflow, steps)
    waits = next((step.name for step in steps if step.outcome == "waiting"), "")
    message = f"the step {waits} waits for an answer" if waits else str(status.get("message") or "")
    outcome = conclude(finished, state=state, message=message)
    started, ended = parse_time(status.get("startedAt")), parse_time(status.get("finishedAt"))
    return RunStatus(
        summary=RunSummary(
            id=str(metadata["name"]),
            engine="argo",
            pipeline=str((metadata.get("labels") or {}).get(PIPELINE_LABEL, "")),
            outcome=outcome.name,
            release=outcome.release,
            gate=outcome.gate,
            numbers=outcome.numbers,
            started=started,
            seconds=None if started is None else (ended or now) - started,
            url=f"{ui_url.rstrip('/')}/workflows/{metadata['namespace']}/{metadata['name']}" if ui_url else "",
        ),
        steps=steps,
        ended=state in {"succeeded", "failed", "interrupted"},
        reason=outcome.reason,
        exit_code=outcome.exit_code,
    )


def _state(workflow: Mapping[str, Any], steps: Sequence[StepStatus]) -> str:
    phase = str((workflow.get("status") or {}).get("phase") or "")
    if phase in _STATES:
        stopped = workflow["spec"].get("shutdown") and phase != "Succeeded"
        return "interrupted" if stopped else _STATES[phase]
    suspended = workflow["spec"].get("suspend") or any(step.outcome == "waiting" for step in steps)
    return "waiting" if suspended else "running"


def _walk(nodes: Mapping[str, Node], run: str, boundary: str | None = None, depth: int = 0) -> Iterator[StepStatus]:
    """Yield the steps inside a part of the pipeline in the order of their start, and those of its parts after each part."""
    root = next((node["id"] for node in nodes.values() if node["name"] == run), None)
    inside = [node for node in nodes.values() if node.get("boundaryID") == (boundary or root) and node["id"] != root]
    if boundary is None:  # an exit handler of the whole run has no boundary
        inside += [node for node in nodes.values() if node["name"] == f"{run}.onExit"]
        if root and nodes[root]["type"] not in GROUPS:
            inside.append(nodes[root])
    for node in sorted(inside, key=lambda node: (node.get("startedAt") or "~", node["name"])):
        if (node.get("nodeFlag") or {}).get("retried"):
            continue  # the Retry node stands for all attempts
        if node["type"] in LEAVES:
            yield _describe_node(node, depth)
        elif node["type"] in GROUPS:
            yield _describe_node(node, depth)
            yield from _walk(nodes, run, str(node["id"]), depth + 1)


def _describe_node(node: Node, depth: int) -> StepStatus:
    phase = str(node.get("phase") or "Pending")
    waits = node["type"] == "Suspend" and phase == "Running"
    attempts = len(node.get("children") or ()) if node["type"] == "Retry" else 0
    detail = str(node.get("message") or _read_facts(node).get(DETAIL) or "")
    if attempts > 1:
        detail = f"attempt {attempts}" + (f": {detail}" if detail else "")
    return StepStatus(
        id=str(node["id"]),
        name=str(node.get("displayName") or node["name"]),
        depth=depth,
        outcome="waiting" if waits else _OUTCOMES.get(phase, "running"),
        detail=detail,
        started=parse_time(node.get("startedAt")),
        ended=parse_time(node.get("finishedAt")),
        is_group=node["type"] in GROUPS,
        cached=bool((node.get("memoizationStatus") or {}).get("hit")),
    )


def _finish(node: Node, step: StepStatus, path: str) -> FinishedStep:
    code = str((node.get("outputs") or {}).get("exitCode") or "")
    return FinishedStep(
        component=str(node.get("templateName") or step.name),
        path=path,
        outcome=step.outcome,
        output=_read_value(_read_outputs(node).get(OUTPUT)),
        exit_code=int(code) if code.lstrip("-").isdecimal() else None,
        detail=step.detail,
        facts=_read_facts(node),
    )


def _read_outputs(node: Node) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in (node.get("outputs") or {}).get("parameters") or ()}


def _read_facts(node: Node) -> dict[str, Any]:
    """Return the metadata of the step's record. A Python step's artifact is a parameter too, with everything but its bytes."""
    artifact = _read_value(_read_outputs(node).get(RECORD))
    found = artifact.get("metadata") if isinstance(artifact, dict) else None
    return found if isinstance(found, dict) else {}


def _read_value(text: str | None) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of an output: wire JSON of a Python step, or the text that a person or a container gave."""
    if text is None:
        return None
    try:
        return from_wire(text)
    except ValueError:
        return text


def parse_time(text: str | None) -> float | None:
    """Return a time of Kubernetes in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() if text else None


def find_steps(workflow: Mapping[str, Any], step: str) -> list[Node]:
    """Return the nodes of the attempts of the steps with this name, in the order of their start; without a name, of all steps.

    A name is what the tree shows, the component's name, or the path that Argo writes.
    """
    run = str(workflow["metadata"]["name"])
    found = []
    for node in read_nodes(workflow).values():
        path = str(node["name"]).removeprefix(f"{run}.")
        names = {node.get("displayName"), node.get("templateName"), path, path.rpartition("(")[0] if _is_attempt(node) else path}
        names |= {str(node.get("displayName", "")).rpartition("(")[0]} if _is_attempt(node) else set()
        if node["type"] == "Pod" and (not step or step in names):
            found.append(node)
    return sorted(found, key=lambda node: (node.get("startedAt") or "", node["name"]))


def _is_attempt(node: Node) -> bool:
    return bool((node.get("nodeFlag") or {}).get("retried"))
