"""KFP's resources as Kubernetes': as fields where they are known, as a patch where only the run knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.pods.step_pods import decimal, has_tag
from sluice.argo.steps.container_texts import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.argo.compilation import Context
    from sluice.argo.pods.step_pods import Pod
    from sluice.ir.graph import JSON

_FIELDS = (
    ("resourceCpuRequest", "cpuRequest", "requests", "cpu"),
    ("resourceMemoryRequest", "memoryRequest", "requests", "memory"),
    ("resourceCpuLimit", "cpuLimit", "limits", "cpu"),
    ("resourceMemoryLimit", "memoryLimit", "limits", "memory"),
)
"""New field, old field, where it goes."""


def apply_resources(pod: Pod, raw: Mapping[str, JSON], context: Context, *, keep: bool) -> None:
    """Set a container's resources; `keep` is false where they go to a ``dsl.TaskConfig`` alone."""
    resources: dict[str, Any] = {}
    for new, old, kind, name in _FIELDS:
        if raw.get(new):
            resources.setdefault(kind, {})[name] = json_text(str(raw[new]), context)
        elif raw.get(old):
            resources.setdefault(kind, {})[name] = decimal(raw[old]) + ("G" if name == "memory" else "")
    accelerator = raw.get("accelerator") or {}
    count = accelerator.get("resourceCount") or accelerator.get("count")
    if count and str(count) != "0":
        name_ = json_text(str(accelerator.get("resourceType") or accelerator.get("type")), context)
        resources.setdefault("limits", {})[name_] = json_text(str(count), context)
    if not resources:
        return
    pod.config["resources"] = resources
    if not keep:
        return
    if has_tag(resources):
        pod.main_patch["resources"] = resources
    else:
        pod.container["resources"] = resources
