"""The Argo template of one step: an executor that runs as one pod."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import find_table_key, is_impostor, is_python
from sluice.argo.expressions.argo_names import input_expression, kubernetes_name, names_of
from sluice.argo.expressions.artifact_store import TEMPORARY, VOLUME
from sluice.argo.expressions.values import Value, runtime_value
from sluice.argo.expressions.wire_json import Tag, escape_argument, escape_tags, json_with_tags, literal
from sluice.argo.pod_settings.kubernetes_settings import apply_settings
from sluice.argo.pod_settings.step_pods import Pod, as_field
from sluice.argo.steps.container_texts import (
    BRACE_VARIABLE,
    env_text,
    field_text,
    json_text,
    launcher_argument,
    lower_texts,
)
from sluice.argo.steps.inputs_and_outputs import launcher_input, model_images, output_folders, step_input_artifacts, step_outputs
from sluice.argo.steps.resources import apply_resources
from sluice.argo.steps.retries import retry_strategy
from sluice.argo.steps.signing_keys import mount_signing_key
from sluice.argo.steps.workspaces import mount_workspace, uses_workspace
from sluice.ir.graph import Container, ParameterType
from sluice.ir.placeholders import is_plain, read_argument
from sluice.ir.reading import read_source

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Compilation, Context, Options
    from sluice.argo.pod_settings.step_pods import Resolve

LAUNCHER_ANNOTATION = "sluice-launcher"
"""Annotation of the workflow that holds the launcher's text."""

_PASSTHROUGH_KEYS = {
    "RESOURCES": ("resources",),
    "ENV": ("env",),
    "KUBERNETES_AFFINITY": ("affinity",),
    "KUBERNETES_TOLERATIONS": ("tolerations",),
    "KUBERNETES_NODE_SELECTOR": ("nodeSelector",),
    "KUBERNETES_VOLUMES": ("volumes", "volumeMounts"),
}
"""Field of a ``dsl.TaskConfig`` → the keys that it gets."""


def lower_container(compilation: Compilation, call: Call) -> tuple[str, list[tuple[str, Value]]]:
    """Lower a task that runs a container.

    Returns:
        The name of the template, and the arguments that it needs in addition to the component's inputs.
    """
    executor = call.component.body
    assert isinstance(executor, Container)  # noqa: S101 - the caller checks the type
    if executor.has_hook:
        compilation.refusals.add(call.path, "lifecycle", "no open-source engine runs lifecycle hooks", "Remove the hook.")
    extra: list[tuple[str, Value]] = []

    def resolve(spec: dict[str, Any]) -> Value:
        """Return the value of a setting. A value that is not a constant becomes one more input of the template."""
        value = call.value_of(read_source(spec), ParameterType.STRING)
        if value.is_constant:
            return value
        known = next((name for name, given in extra if given.expression == value.expression), "")
        name = known or f"setting_{len(extra) + 1}"
        if not known:
            extra.append((name, value))
        return runtime_value(input_expression(name), maybe_null=value.maybe_null)

    pod = Pod()
    _apply_settings(compilation, pod, call, resolve)
    mount_signing_key(compilation, pod, call)
    context = compilation.context(call)
    try:
        _fill(compilation, pod, executor, context)
    except ValueError as error:
        hint = "Use only the placeholders that KFP documents, for the container's own inputs and outputs and for the run."
        compilation.refusals.add(call.path, "container", str(error), hint)
    template = _assemble(compilation, pod, call, [name for name, _ in extra])
    return compilation.add_template(template, call.component.name.removeprefix("comp-"), call.task), extra


def _apply_settings(compilation: Compilation, pod: Pod, call: Call, resolve: Resolve) -> None:
    field = "platforms.kubernetes"
    try:
        unknown = apply_settings(pod, call.component.platform, call.component.passthroughs, resolve)
    except ValueError as error:
        compilation.refusals.add(call.path, field, str(error), "Give the volume another name.")
        return
    for name in unknown:
        compilation.refusals.add(call.path, f"{field} {name}", "Sluice does not know this setting", "Remove the setting.")


def _fill(compilation: Compilation, pod: Pod, executor: Container, context: Context) -> None:
    call = context.call
    pod.container["image"] = field_text(executor.image, context)
    _set_env(pod, executor, context)
    if compilation.pipeline.config.get("workspace") and uses_workspace(call):
        mount_workspace(pod, call)
    apply_resources(pod, executor.resources, context, keep=call.component.passthroughs.get("RESOURCES", True))
    if is_python(executor):
        _fill_launched(compilation, pod, executor, context)
    else:
        _fill_plain(pod, executor, context)
    for path in output_folders(context, launched=is_python(executor)):
        pod.mount(None, {"name": VOLUME, "mountPath": path})
    for argo, image, folder in model_images(context):
        _copy_models(pod, argo, image, folder)
    if BRACE_VARIABLE in str((pod.container, pod.main_patch)):
        pod.container.setdefault("env", []).insert(0, {"name": BRACE_VARIABLE, "value": "{"})


def _set_env(pod: Pod, executor: Container, context: Context) -> None:
    passthroughs = context.call.component.passthroughs
    for name, value in executor.env:
        if "ENV" in passthroughs:
            pod.config.setdefault("env", []).append({"name": name, "value": json_text(value, context)})
        if passthroughs.get("ENV", True):
            pod.env({"name": name, "value": env_text(value, context)})


def _copy_models(pod: Pod, name: str, image: str, folder: str) -> None:
    """Add an init container that copies a model out of its OCI image (KServe's modelcar) before the step starts.

    The init container runs the image of the model. Its ``cp`` copies the folder ``/models``.
    """
    volume = f"sluice-model-{kubernetes_name(name)}"[:63].rstrip("-")
    pod.mount({"name": volume, "emptyDir": {}}, {"name": volume, "mountPath": folder})
    copy = {"name": volume, "image": image, "command": ["cp", "-R", "/models", "/sluice-model/"]}
    pod.template.setdefault("initContainers", []).append(
        copy | {"volumeMounts": [{"name": volume, "mountPath": "/sluice-model"}]}
    )


def _fill_launched(compilation: Compilation, pod: Pod, executor: Container, context: Context) -> None:
    """Set a command that starts the launcher, which runs the component's own command."""
    config = {
        key: pod.config[key]
        for field in context.call.component.passthroughs
        for key in _PASSTHROUGH_KEYS.get(field, ())
        if key in pod.config
    }
    spec = launcher_input(context, config)
    pod.container["command"] = ["python3", "-c", f"{{{{workflow.annotations.{LAUNCHER_ANNOTATION}}}}}"]
    original = [
        escape_argument(part) if part == "{{$}}" or is_plain(read_argument(part)) else launcher_argument(part, context)
        for part in (*executor.command, *executor.args)
    ]
    pod.container["args"] = [json_with_tags(spec), *original]
    compilation.uses_launcher = True


def _fill_plain(pod: Pod, executor: Container, context: Context) -> None:
    """Set the command of a container that does not use KFP. Its placeholders become expressions."""
    given = {"command": lower_texts(executor.command, context), "args": lower_texts(executor.args, context)}
    for field, texts in given.items():
        if isinstance(texts, str):  # Only the run knows the number of texts.
            pod.main_patch[field] = Tag(texts)
        elif texts:
            pod.container[field] = texts


def _assemble(compilation: Compilation, pod: Pod, call: Call, extra: list[str]) -> dict[str, Any]:
    """Return the whole template. Its fields are in an order that is easy to read."""
    component, task, names = call.component, call.task, names_of(call.component)
    inputs = [names.inputs[name] for name in (*component.inputs, *component.input_artifacts) if name not in call.not_given]
    template: dict[str, Any] = {"inputs": {"parameters": [{"name": name} for name in (*inputs, *extra)]}}
    artifacts = step_input_artifacts(compilation, call)
    if artifacts:
        template["inputs"]["artifacts"] = artifacts
    if not template["inputs"]["parameters"]:
        del template["inputs"]
    made = step_outputs(compilation, call)
    if made:
        template["outputs"] = made
    _secure(pod, compilation.options)
    template |= _account(compilation, call)
    template |= {key: as_field(value) for key, value in pod.template.items()}
    template["container"] = {
        key: as_field(pod.container[key])
        for key in ("image", "imagePullPolicy", "command", "args", "env", "resources", "securityContext", "volumeMounts")
        if pod.container.get(key) is not None
    }
    patch = pod.pod_spec_patch()
    if patch:
        template["podSpecPatch"] = patch
    template |= retry_strategy(task)
    if compilation.options.cache and task.cached and component.name not in compilation.collected:
        template["memoize"] = _memoize(compilation, call, template, [*inputs, *extra])
    return template


def _account(compilation: Compilation, call: Call) -> dict[str, Any]:
    """Return the service account of a step that has its own. A step without one runs as the workflow says."""
    key = find_table_key(call.component)
    account = dict(compilation.options.service_accounts).get(key, "")
    if not account:
        return {}
    if is_impostor(call.component):
        reason = (
            f"the component has the name of Sluice's step {key!r}, but its body does not call it, so it gets no service account"
        )
        compilation.refusals.add(call.path, "service account", reason, "Give the component another name.")
        return {}
    mounted = {} if compilation.options.step_tokens else {"automountServiceAccountToken": True}
    return {"serviceAccountName": account, **mounted}


def _secure(pod: Pod, options: Options) -> None:
    """Set the security context of every container as the options require. The component's own settings take precedence."""
    required: dict[str, Any] = {}
    if options.security:
        required |= {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    if options.security == "restricted":
        required["runAsNonRoot"] = True
    if options.read_only:
        required["readOnlyRootFilesystem"] = True
    for container in (pod.container, *pod.template.get("initContainers", ())) if required else ():
        container["securityContext"] = required | container.get("securityContext", {})
        mounts = container.get("volumeMounts", [])
        if options.read_only and not any(mount["mountPath"] == "/tmp" for mount in mounts):  # noqa: S108 - in the container
            container["volumeMounts"] = [*mounts, {"name": TEMPORARY, "mountPath": "/tmp"}]  # noqa: S108 - in the container


def _memoize(compilation: Compilation, call: Call, template: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
    """Return the template field for Argo's memoization. The key covers the template and the inputs.

    An upstream artifact is part of the key by its URI.
    """
    task = call.task
    code = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:24]
    if task.cache_key:
        key: str = escape_tags(f"k-{hashlib.sha256(task.cache_key.encode()).hexdigest()[:48]}")
    elif inputs:
        joined = " + ' ' + ".join(map(input_expression, inputs))
        key = str(Tag(f"{literal(code + '-')} + sprig.sha256sum({joined})"))
    else:
        key = code
    name = f"{compilation.name}-cache"[:63].strip("-")
    # Argo's full CRD requires maxAge. If it is empty, Argo keeps the result for ever.
    return {"key": key, "maxAge": compilation.options.cache_ttl, "cache": {"configMap": {"name": name}}}
