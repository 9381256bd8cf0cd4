"""The resources of a container: CPU, memory and accelerators.

Resources that are known when compiling go into the template. If only the run knows one of them, all go into ``podSpecPatch``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.pod_settings.step_pods import decimal, has_tag
from sluice.argo.steps.container_texts import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.argo.compilation import Context
    from sluice.argo.pod_settings.step_pods import Pod
    from sluice.ir.graph import JSON

_FIELDS = (
    ("resourceCpuRequest", "cpuRequest", "requests", "cpu"),
    ("resourceMemoryRequest", "memoryRequest", "requests", "memory"),
    ("resourceCpuLimit", "cpuLimit", "limits", "cpu"),
    ("resourceMemoryLimit", "memoryLimit", "limits", "memory"),
)
"""KFP's new field, KFP's old field, and the two keys of the field in Kubernetes."""


def apply_resources(pod: Pod, raw: Mapping[str, JSON], context: Context, *, keep: bool) -> None:
    """Set the resources of the main container.

    Args:
        pod: The pod, which is changed.
        raw: KFP's ``ResourceSpec`` as the IR holds it.
        context: What the placeholders in the texts can refer to.
        keep: Whether the container keeps the resources. It does not if they go only to a ``dsl.TaskConfig``.
    """
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
