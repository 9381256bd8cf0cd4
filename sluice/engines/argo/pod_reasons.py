"""Why a pod does not start. Argo's status often says only ``PodInitializing``. Pure functions of the pod."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.engines import RunStatus

_USUAL = frozenset({"PodInitializing", "ContainerCreating"})
"""Reasons that pass by themselves."""

NODE_ANNOTATION = "workflows.argoproj.io/node-id"
"""Annotation of a pod with the id of its node in the Workflow."""


def describe_waiting(pod: Mapping[str, Any]) -> str:
    """Return why a pod waits, for example because an image cannot be pulled or no machine has room; empty if nothing is wrong."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _USUAL:
            return f"{waiting['reason']}: {waiting.get('message') or container['name']}"
    return ""


def with_reasons(status: RunStatus, pods: list[dict[str, Any]]) -> RunStatus:
    """Return the status of a run in which each pending step says why its pod does not start."""
    reasons = {(pod["metadata"].get("annotations") or {}).get(NODE_ANNOTATION): describe_waiting(pod) for pod in pods}
    steps = tuple(
        dataclasses.replace(step, detail=" ".join(reasons[step.id].split()))
        if step.outcome == "pending" and reasons.get(step.id)
        else step
        for step in status.steps
    )
    return dataclasses.replace(status, steps=steps)
