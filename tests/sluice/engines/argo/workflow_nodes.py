"""Workflows with nodes as Argo writes them, for the tests of pure functions. Field names follow argo-workflows 4.1.2."""

from __future__ import annotations

from typing import Any

RUN = "shop-release-x1"
STARTED, LATER = "2026-11-30T05:00:00Z", "2026-11-30T05:01:00Z"


def node(name: str, kind: str = "Pod", phase: str = "Succeeded", **fields: Any) -> dict[str, Any]:
    """Return a node below the root; `name` is its path from there."""
    path = f"{RUN}.{name}" if name else RUN
    found: dict[str, Any] = {
        "id": f"{RUN}-{name}" if name else RUN,
        "name": path,
        "displayName": name.rpartition(".")[2] or RUN,
        "type": kind,
        "phase": phase,
        "templateName": name.rpartition(".")[2] or "release",
        "startedAt": STARTED,
        "finishedAt": LATER,
    }
    if name:
        outer = name.rpartition(".")[0]
        found["boundaryID"] = f"{RUN}-{outer}" if outer else RUN
    return found | fields


def output(value: str, code: int | None = None) -> dict[str, Any]:
    """Return the outputs of a step that gave one parameter."""
    found: dict[str, Any] = {"parameters": [{"name": "Output", "value": value}]}
    return found | ({"exitCode": str(code)} if code is not None else {})


def children(*names: str) -> list[str]:
    return [f"{RUN}-{name}" for name in names]


def workflow(*nodes: dict[str, Any], phase: str = "Succeeded", **spec: Any) -> dict[str, Any]:
    """Return a Workflow with these nodes."""
    status: dict[str, Any] = {"phase": phase, "startedAt": STARTED, "nodes": {each["id"]: each for each in nodes}}
    if phase in {"Succeeded", "Failed", "Error"}:
        status["finishedAt"] = LATER
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": RUN,
            "namespace": "ml",
            "resourceVersion": "7",
            "labels": {"sluice.dev/pipeline": "release", "workflows.argoproj.io/completed": "true"},
        },
        "spec": {"workflowTemplateRef": {"name": "shop-release"}, **spec},
        "status": status,
    }
