"""The status that Argo's controller would write into a Workflow. Field names follow argo-workflows 4.1.2."""

from __future__ import annotations

from typing import Any

STARTED, ENDED = "2026-11-30T05:00:00Z", "2026-11-30T05:01:00Z"


def node(run: str, name: str, kind: str = "Pod", phase: str = "Succeeded", **fields: Any) -> dict[str, Any]:
    found = {
        "id": f"{run}-{name}",
        "name": f"{run}.{name}",
        "displayName": name,
        "type": kind,
        "phase": phase,
        "templateName": name,
        "boundaryID": run,
        "startedAt": STARTED,
        "finishedAt": ENDED,
    }
    return found | fields


def root(run: str, phase: str = "Succeeded", **fields: Any) -> dict[str, Any]:
    return {"id": run, "name": run, "displayName": run, "type": "DAG", "phase": phase, "startedAt": STARTED} | fields


def status(phase: str, *nodes: dict[str, Any]) -> dict[str, Any]:
    ended = {"finishedAt": ENDED} if phase != "Running" else {}
    return {"phase": phase, "startedAt": STARTED, "nodes": {each["id"]: each for each in nodes}, **ended}
