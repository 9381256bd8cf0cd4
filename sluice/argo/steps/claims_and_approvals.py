"""Tasks that run without the image of their component: the claims of kfp-kubernetes, and Sluice's approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import APPROVAL, CREATE_CLAIM, DELETE_CLAIM, is_approval
from sluice.argo.expressions.argo_names import input_expression, names_of
from sluice.argo.expressions.wire_json import Tag, TextWithTags, json_with_tags
from sluice.argo.steps.retries import retry_strategy
from sluice.ir.graph import Container

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Compilation


def lower_without_image(compilation: Compilation, call: Call) -> str:
    """Lower a task that needs no image.

    Returns:
        The name of the template, or an empty text if the task needs its image.
    """
    body = call.component.body
    image = body.image if isinstance(body, Container) else ""
    if image == CREATE_CLAIM:
        return compilation.add_template(_create_claim(call) | retry_strategy(call.task), "createpvc", call.task)
    if image == DELETE_CLAIM:
        return compilation.add_template(_delete_claim(call) | retry_strategy(call.task), "deletepvc", call.task)
    if is_approval(call.component):
        return compilation.add_template(_approval(call), APPROVAL)
    return ""


def _inputs(call: Call) -> list[dict[str, Any]]:
    names = names_of(call.component).inputs
    return [{"name": argo} for name, argo in names.items() if name not in call.not_given]


def _create_claim(call: Call) -> dict[str, Any]:
    """Return a template that creates a PersistentVolumeClaim.

    The claim has the same name as in KFP: ``pvc_name``, or the name of the run followed by ``pvc_name_suffix``.
    """
    names = names_of(call.component).inputs

    def given(name: str) -> str:
        return input_expression(names[name]) if name in names and name not in call.not_given else ""

    name: Any = TextWithTags("{{workflow.name}}-claim")
    if given("pvc_name"):
        name = Tag(given("pvc_name"))
    elif given("pvc_name_suffix"):
        name = Tag(f"workflow.name + fromJSON({given('pvc_name_suffix')})", quoted=True)
    metadata: dict[str, Any] = {"name": name}
    if given("annotations"):
        metadata["annotations"] = Tag(given("annotations"))
    spec: dict[str, Any] = {
        "accessModes": Tag(given("access_modes")) if given("access_modes") else ["ReadWriteOnce"],
        "resources": {"requests": {"storage": Tag(given("size"))}},
    }
    for key, field in (("storage_class_name", "storageClassName"), ("volume_name", "volumeName"), ("data_source", "dataSource")):
        if given(key):
            spec[field] = Tag(given(key))
    manifest = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    output = next(iter(names_of(call.component).outputs.values()), "name")
    return {
        "inputs": {"parameters": _inputs(call)},
        "outputs": {"parameters": [{"name": output, "valueFrom": {"jsonPath": "{.metadata.name}"}}]},
        "resource": {"action": "create", "manifest": json_with_tags(manifest)},
    }


def _delete_claim(call: Call) -> dict[str, Any]:
    name = names_of(call.component).inputs["pvc_name"]
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": Tag(input_expression(name))},
    }
    # Kubernetes keeps a claim until the pods that used it are deleted, ended pods included. The run must not wait for that.
    resource = {"action": "delete", "flags": ["--wait=false"], "manifest": json_with_tags(manifest)}
    return {"inputs": {"parameters": _inputs(call)}, "resource": resource}


def _approval(call: Call) -> dict[str, Any]:
    """Return a template that suspends the run. The person who resumes it supplies who approves, and why."""
    names = names_of(call.component)
    output = next(iter(names.outputs.values()))
    return {
        "inputs": {"parameters": _inputs(call)},
        "outputs": {
            "parameters": [
                {"name": output, "valueFrom": {"supplied": {}}, "description": "Who approves this release for production."},
                {"name": "why", "valueFrom": {"supplied": {}, "default": ""}, "description": "Why."},
            ]
        },
        "suspend": {},
    }
