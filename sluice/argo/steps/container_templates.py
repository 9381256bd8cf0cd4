"""One step: an executor as an Argo template with one pod."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import is_python
from sluice.argo.expressions.argo_names import input_of, label, names_of
from sluice.argo.expressions.artifact_store import TEMPORARY, VOLUME
from sluice.argo.expressions.values import Value, dynamic
from sluice.argo.expressions.wire_json import Tag, dump, escape_argument, literal, plain
from sluice.argo.pods.kubernetes_settings import apply_settings
from sluice.argo.pods.step_pods import Pod, as_field
from sluice.argo.steps.container_texts import BRACE, env_text, field_text, json_text, lower_all, mixed_text, without_tags
from sluice.argo.steps.inputs_and_outputs import input_artifacts, launcher_input, model_images, mounts, outputs
from sluice.argo.steps.resources import apply_resources
from sluice.argo.steps.retries import retry_strategy
from sluice.argo.steps.workspaces import mount_workspace, uses_workspace
from sluice.ir.graph import Container, ParameterType
from sluice.ir.placeholders import is_plain, read_argument
from sluice.ir.reading import read_source

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Context, Lowering, Options
    from sluice.argo.pods.step_pods import Resolve

STATE = "sluice-state"
STATE_FOLDER = "/project/.sluice"
"""Where a project's own steps keep their state: see components/Dockerfile."""

LAUNCHER_ANNOTATION = "sluice-launcher"
_PASSTHROUGH_KEYS = {
    "RESOURCES": ("resources",),
    "ENV": ("env",),
    "KUBERNETES_AFFINITY": ("affinity",),
    "KUBERNETES_TOLERATIONS": ("tolerations",),
    "KUBERNETES_NODE_SELECTOR": ("nodeSelector",),
    "KUBERNETES_VOLUMES": ("volumes", "volumeMounts"),
}


def lower_container(lowering: Lowering, call: Call) -> tuple[str, list[tuple[str, Value]]]:
    """The template of a container task.

    Returns:
        The template's name, and arguments that it needs beside the component's inputs.
    """
    executor = call.component.body
    assert isinstance(executor, Container)  # noqa: S101 - the caller chose by this
    if executor.has_hook:
        lowering.findings.refuse(call.path, "lifecycle", "no open-source engine runs a lifecycle hook", "Remove it.")
    extra: list[tuple[str, Value]] = []

    def resolve(spec: dict[str, Any]) -> Value:
        """A setting's value: constants stay, everything else becomes one more input of the template."""
        value = call.settle(read_source(spec), ParameterType.STRING)
        if value.is_constant:
            return value
        known = next((name for name, given in extra if given.expression == value.expression), "")
        name = known or f"setting_{len(extra) + 1}"
        if not known:
            extra.append((name, value))
        return dynamic(input_of(name), maybe_null=value.maybe_null)

    pod = Pod()
    _apply_settings(lowering, pod, call, resolve)
    context = lowering.context(call)
    try:
        _fill(lowering, pod, executor, context)
    except ValueError as error:
        hint = "A container's texts may name its own inputs, outputs and the run: KFP's documented placeholders."
        lowering.findings.refuse(call.path, "container", str(error), hint)
    template = _assemble(lowering, pod, call, [name for name, _ in extra])
    return lowering.add_template(template, call.component.name.removeprefix("comp-"), call.task), extra


def _apply_settings(lowering: Lowering, pod: Pod, call: Call, resolve: Resolve) -> None:
    field = "platforms.kubernetes"
    try:
        unknown = apply_settings(pod, call.component.platform, call.component.passthroughs, resolve)
    except ValueError as error:
        lowering.findings.refuse(call.path, field, str(error), "Give the volume a name of its own.")
        return
    for name in unknown:
        lowering.findings.refuse(call.path, f"{field} {name}", "Sluice does not know this setting", "Leave it out.")


def _fill(lowering: Lowering, pod: Pod, executor: Container, context: Context) -> None:
    call = context.call
    pod.container["image"] = field_text(executor.image, context)
    _set_env(pod, executor, context)
    if lowering.pipeline.config.get("workspace") and uses_workspace(call):
        mount_workspace(pod, call)
    apply_resources(pod, executor.resources, context, keep=call.component.passthroughs.get("RESOURCES", True))
    if is_python(executor):
        _launched(lowering, pod, executor, context)
    else:
        _plain(pod, executor, context)
    for mount in mounts(context, launched=is_python(executor)):
        pod.mount(None, {"name": VOLUME, "mountPath": mount})
    for name, value in lowering.options.env:
        pod.env({"name": name, "value": without_tags(value)})
    if lowering.options.state_claim:
        pod.mount(None, {"name": STATE, "mountPath": STATE_FOLDER})
    for argo, image, folder in model_images(context):
        _copy_models(pod, argo, image, folder)
    if BRACE in str((pod.container, pod.main_patch)):
        pod.container.setdefault("env", []).insert(0, {"name": BRACE, "value": "{"})


def _set_env(pod: Pod, executor: Container, context: Context) -> None:
    passthroughs = context.call.component.passthroughs
    for name, value in executor.env:
        if "ENV" in passthroughs:
            pod.config.setdefault("env", []).append({"name": name, "value": json_text(value, context)})
        if passthroughs.get("ENV", True):
            pod.env({"name": name, "value": env_text(value, context)})


def _copy_models(pod: Pod, name: str, image: str, folder: str) -> None:
    """A model that is an OCI image (KServe's modelcar): its own ``cp`` copies ``/models`` before the step starts."""
    volume = f"sluice-model-{label(name)}"[:63].rstrip("-")
    pod.mount({"name": volume, "emptyDir": {}}, {"name": volume, "mountPath": folder})
    copy = {"name": volume, "image": image, "command": ["cp", "-R", "/models", "/sluice-model/"]}
    pod.template.setdefault("initContainers", []).append(
        copy | {"volumeMounts": [{"name": volume, "mountPath": "/sluice-model"}]}
    )


def _launched(lowering: Lowering, pod: Pod, executor: Container, context: Context) -> None:
    """The component's own command behind the launcher."""
    config = {
        key: pod.config[key]
        for field in context.call.component.passthroughs
        for key in _PASSTHROUGH_KEYS.get(field, ())
        if key in pod.config
    }
    spec = launcher_input(context, config)
    pod.container["command"] = ["python3", "-c", f"{{{{workflow.annotations.{LAUNCHER_ANNOTATION}}}}}"]
    original = [
        escape_argument(part) if part == "{{$}}" or is_plain(read_argument(part)) else mixed_text(part, context)
        for part in (*executor.command, *executor.args)
    ]
    pod.container["args"] = [dump(spec), *original]
    lowering.uses_launcher = True


def _plain(pod: Pod, executor: Container, context: Context) -> None:
    """A container that knows nothing of KFP: placeholders become expressions."""
    given = {"command": lower_all(executor.command, context), "args": lower_all(executor.args, context)}
    for field, texts in given.items():
        if isinstance(texts, str):  # the number of texts is known only when running
            pod.main_patch[field] = Tag(texts)
        elif texts:
            pod.container[field] = texts


def _assemble(lowering: Lowering, pod: Pod, call: Call, extra: list[str]) -> dict[str, Any]:
    """The template, its fields in the order that people read them."""
    component, task, names = call.component, call.task, names_of(call.component)
    inputs = [names.inputs[name] for name in (*component.inputs, *component.input_artifacts) if name not in call.absent]
    template: dict[str, Any] = {"inputs": {"parameters": [{"name": name} for name in (*inputs, *extra)]}}
    artifacts = input_artifacts(lowering, call)
    if artifacts:
        template["inputs"]["artifacts"] = artifacts
    if not template["inputs"]["parameters"]:
        del template["inputs"]
    made = outputs(lowering, call)
    if made:
        template["outputs"] = made
    _secure(pod, lowering.options)
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
    if lowering.options.cache and task.cached and component.name not in lowering.collected:
        template["memoize"] = _memoize(lowering, call, template, [*inputs, *extra])
    return template


def _secure(pod: Pod, options: Options) -> None:
    """What the cluster's options ask of every container of the pod, under what the component itself asks for."""
    asked: dict[str, Any] = {}
    if options.security:
        asked |= {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    if options.security == "restricted":
        asked["runAsNonRoot"] = True
    if options.read_only:
        asked["readOnlyRootFilesystem"] = True
    for container in (pod.container, *pod.template.get("initContainers", ())) if asked else ():
        container["securityContext"] = asked | container.get("securityContext", {})
        mounts = container.get("volumeMounts", [])
        if options.read_only and not any(mount["mountPath"] == "/tmp" for mount in mounts):  # noqa: S108 - the container's own
            container["volumeMounts"] = [*mounts, {"name": TEMPORARY, "mountPath": "/tmp"}]  # noqa: S108 - likewise


def _memoize(lowering: Lowering, call: Call, template: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
    """Argo's memoization, keyed on the code and the inputs, upstream artifacts by their URI among them."""
    task = call.task
    code = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:24]
    if task.cache_key:
        key: str = plain(f"k-{hashlib.sha256(task.cache_key.encode()).hexdigest()[:48]}")
    elif inputs:
        joined = " + ' ' + ".join(map(input_of, inputs))
        key = str(Tag(f"{literal(code + '-')} + sprig.sha256sum({joined})"))
    else:
        key = code
    name = f"{lowering.name}-cache"[:63].strip("-")
    # Argo's full CRD requires maxAge; an empty one is for ever.
    return {"key": key, "maxAge": lowering.options.cache_ttl, "cache": {"configMap": {"name": name}}}
