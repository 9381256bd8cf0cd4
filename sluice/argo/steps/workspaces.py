"""KFP's workspace: one PersistentVolumeClaim for each run, mounted into the steps that may use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import WORKSPACE
from sluice.argo.expressions.wire_json import TextWithTags
from sluice.argo.pod_settings.step_pods import WORKSPACE_VOLUME
from sluice.ir.graph import Constant, Container, FromFinalStatus, ParameterType

if TYPE_CHECKING:
    from sluice.argo.compilation import Call
    from sluice.argo.pod_settings.step_pods import Pod
    from sluice.ir.graph import JSON

_NAMES = ("$.workspace_path", WORKSPACE)


def uses_workspace(call: Call) -> bool:
    """Return whether a step may use the workspace.

    KFP's driver searches the inputs of a step for the path of the workspace during the run. This function searches everything
    that is known when compiling. It also returns True for a text that only the run knows, because this text may contain the path.
    """
    body = call.component.body
    assert isinstance(body, Container)  # noqa: S101 - only containers have pods
    return any(map(_names_workspace, (*body.command, *body.args, *body.env))) or any(
        _input_may_name_workspace(call, name, parameter.type, parameter.default)
        for name, parameter in call.component.inputs.items()
    )


def _input_may_name_workspace(call: Call, name: str, kind: ParameterType, default: JSON) -> bool:
    binding, loop = call.task.parameters.get(name), call.task.iterator
    if loop and loop.item == name:
        source: Any = loop.items
    elif binding:
        source = binding.source
    else:
        source = Constant(default)
    if isinstance(source, Constant):
        return _names_workspace(source.value)
    return kind is ParameterType.STRING and not isinstance(source, FromFinalStatus)


def _names_workspace(value: JSON) -> bool:
    text = json.dumps(value)
    return any(name in text for name in _NAMES)


def mount_workspace(pod: Pod, call: Call) -> None:
    """Mount the workspace, and add it to the ``dsl.TaskConfig``, by which a step can give its volumes to other pods."""
    mount = {"name": WORKSPACE_VOLUME, "mountPath": WORKSPACE}
    if call.component.passthroughs.get("KUBERNETES_VOLUMES", True):
        pod.mount(None, mount)
    claim = {"claimName": TextWithTags(f"{{{{workflow.name}}}}-{WORKSPACE_VOLUME}")}  # Argo gives the claim this name.
    pod.config.setdefault("volumes", []).append({"name": WORKSPACE_VOLUME, "persistentVolumeClaim": claim})
    pod.config.setdefault("volumeMounts", []).append(mount)
