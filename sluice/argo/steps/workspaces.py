"""KFP's workspace: one claim for a run, mounted into the steps that may use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import WORKSPACE
from sluice.argo.expressions.wire_json import Markup
from sluice.argo.pods.step_pods import WORKSPACE_VOLUME
from sluice.ir.graph import Constant, Container, FromFinalStatus, ParameterType

if TYPE_CHECKING:
    from sluice.argo.compilation import Call
    from sluice.argo.pods.step_pods import Pod
    from sluice.ir.graph import JSON

_NAMES = ("$.workspace_path", WORKSPACE)


def uses_workspace(call: Call) -> bool:
    """Whether a step may use the workspace.

    KFP's driver looks for the workspace's path in a step's inputs when it runs. What is known when compiling is looked through
    here; a text that only the run knows may hold it.
    """
    body = call.component.body
    assert isinstance(body, Container)  # noqa: S101 - only those have pods
    return any(map(_is_named, (*body.command, *body.args, *body.env))) or any(
        _takes(call, name, parameter.type, parameter.default) for name, parameter in call.component.inputs.items()
    )


def _takes(call: Call, name: str, kind: ParameterType, default: JSON) -> bool:
    binding, loop = call.task.parameters.get(name), call.task.iterator
    if loop and loop.item == name:
        source: Any = loop.items
    elif binding:
        source = binding.source
    else:
        source = Constant(default)
    if isinstance(source, Constant):
        return _is_named(source.value)
    return kind is ParameterType.STRING and not isinstance(source, FromFinalStatus)


def _is_named(value: JSON) -> bool:
    text = json.dumps(value)
    return any(name in text for name in _NAMES)


def mount_workspace(pod: Pod, call: Call) -> None:
    """Mount it, and tell a ``dsl.TaskConfig`` of it, which may take a step's volumes to other pods."""
    mount = {"name": WORKSPACE_VOLUME, "mountPath": WORKSPACE}
    if call.component.passthroughs.get("KUBERNETES_VOLUMES", True):
        pod.mount(None, mount)
    claim = {"claimName": Markup(f"{{{{workflow.name}}}}-{WORKSPACE_VOLUME}")}  # as Argo names it
    pod.config.setdefault("volumes", []).append({"name": WORKSPACE_VOLUME, "persistentVolumeClaim": claim})
    pod.config.setdefault("volumeMounts", []).append(mount)
