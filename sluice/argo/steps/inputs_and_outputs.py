"""The inputs and outputs of a step: KFP's executor input, Argo's input and output artifacts, and output parameters.

The executor input is JSON with tags. Argo replaces the tags by values when the step starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.argo_names import input_expression, names_of
from sluice.argo.expressions.artifact_keys import POD, RUN, STORED, Origin, text_expression
from sluice.argo.expressions.artifact_store import OUTPUTS, READABLE, WIRE, imported_artifact
from sluice.argo.expressions.wire_json import Tag, TextWithTags, escape_tags, json_with_tags
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Compilation, Context
    from sluice.argo.expressions.artifact_store import Store
    from sluice.ir.graph import Artifact

REPEATED_PATHS = "/kfp/again/"
"""Folder for downloads that nothing reads, for example if two inputs are the same artifact."""

_DOWNLOAD = {"archive": {"none": {}}, "mode": READABLE, "recurseMode": True, "optional": True}
"""How Argo downloads an input artifact: not unpacked, readable for every user, and without an error if it was never written."""


def executor_input(context: Context, config: dict[str, Any]) -> dict[str, Any]:
    """Return KFP's executor input, with a tag for each value.

    Args:
        context: The step.
        config: Value of the component's ``dsl.TaskConfig`` inputs.
    """
    component, call = context.call.component, context.call
    values: dict[str, Any] = {
        name: Tag(context.input(name))
        for name, parameter in component.inputs.items()
        if name not in call.not_given and parameter.type is not ParameterType.TASK_CONFIG
    }
    values |= {name: config for name, parameter in component.inputs.items() if parameter.type is ParameterType.TASK_CONFIG}
    artifacts = {name: Tag(context.input(name)) for name in component.input_artifacts if name not in call.not_given}
    return {
        "inputs": {"parameterValues": values} | ({"artifacts": artifacts} if artifacts else {}),
        "outputs": {
            "parameters": {name: {"outputFile": f"{OUTPUTS}/{context.names.outputs[name]}"} for name in component.outputs},
            "artifacts": {
                name: {"artifacts": [descriptor(context, name, artifact)]}
                for name, artifact in component.output_artifacts.items()
            },
            "outputFile": TextWithTags(_result_file(context)),
        },
    }


def _result_file(context: Context) -> str:
    return f"{context.store.folder}{RUN}/{POD}/executor_output.json"


def result_path(context: Context) -> str:
    """Return an expression that gives the path of the executor's output file.

    Raises:
        ValueError: The launcher does not run the container, and so nothing would read the file.
    """
    if not context.is_launched:
        raise ValueError("only a Python component has an executor output file; write each output to its own file instead")
    return text_expression(_result_file(context))


def launcher_input(context: Context, config: dict[str, Any]) -> dict[str, Any]:
    """Return the launcher's input: the executor input, the declared types, and the folder for outputs in wire JSON."""
    component = context.call.component
    return {
        "executor": executor_input(context, config),
        "types": {
            name: parameter.type.value
            for name, parameter in component.inputs.items()
            if name not in context.call.not_given and parameter.type not in {ParameterType.LIST, ParameterType.STRUCT}
        },
        "outputs": {name: parameter.type.value for name, parameter in component.outputs.items()},
        "wire": WIRE,
    }


def descriptor(context: Context, name: str, artifact: Artifact) -> dict[str, Any]:
    """Return KFP's descriptor of an output artifact: name, type, URI and metadata."""
    return {
        "name": name,
        "type": dict(artifact.schema),
        "uri": TextWithTags(context.store.base + context.key(name)),
        "metadata": dict(artifact.metadata),
    }


def output_uri(context: Context, name: str) -> str:
    """Return an expression that gives the URI of an output artifact."""
    return text_expression(context.store.base + context.key(name))


def output_path(context: Context, name: str) -> str:
    """Return an expression that gives the path of an output artifact in the pod."""
    return text_expression(context.store.folder + context.key(name))


def input_path(context: Context, name: str) -> str:
    """Return an expression that gives the path of an input artifact in the pod. KFP's runtime derives this path from the URI."""
    origins = context.call.origins.get(name, frozenset())
    if context.call.component.input_artifacts[name].is_list:
        origin = next(iter(sorted(origins, key=repr)), Origin(STORED))
        return text_expression(f"{context.store.folder}{origin.prefix}")
    kind = next((origin.kind for origin in origins), STORED)
    return f"({_location(context.store, kind, f'fromJSON({context.input(name)}).uri', context.names.inputs[name])[1]})"


def step_input_artifacts(compilation: Compilation, call: Call) -> list[dict[str, Any]]:
    """Return Argo's input artifacts of a step: what Argo downloads, and to which path."""
    names, component = names_of(call.component), call.component
    found: list[dict[str, Any]] = []
    uris: list[str] = []
    for name, artifact in component.input_artifacts.items():
        if name in call.not_given:
            continue
        if artifact.is_list:
            found += _list_artifacts(compilation, call, name, names.inputs[name], {each["path"] for each in found})
            continue
        kinds = {origin.kind for origin in call.origins.get(name, ())}
        if len(kinds) > 1:
            compilation.refusals.add(
                call.path,
                f"input {name}",
                f"it may come from {' or '.join(sorted(kinds))}, and Argo downloads these in different ways",
                "Import from the same kind of store in every branch.",
            )
        kind = next(iter(kinds), STORED)
        descriptor_ = f"fromJSON({input_expression(names.inputs[name])})"
        missing_uri = "''" if kind == STORED else "'://'"
        uri = f"({descriptor_}?.uri ?? {missing_uri})" if name in call.maybe_null else f"{descriptor_}.uri"
        if kind == "oci":
            continue  # An init container copies it, see `model_images`.
        location, path = _location(compilation.store, kind, uri, names.inputs[name])
        # Kubernetes mounts only one volume at a path. If two inputs have the same URI, the second gets a path that nothing reads.
        if uris:
            path = f"{uri} in [{', '.join(uris)}] ? '{REPEATED_PATHS}{names.inputs[name]}' : {path}"
        uris.append(uri)
        found.append({"name": names.inputs[name], "path": str(Tag(path)), **_DOWNLOAD, **location})
    return found


def _location(store: Store, kind: str, uri: str, argo: str) -> tuple[dict[str, Any], str]:
    """Return Argo's location of an artifact, and an expression that gives its path in the pod."""
    if kind == STORED:
        return store.step_artifact(uri, REPEATED_PATHS + argo)
    fields, path = imported_artifact(kind, uri)
    location: dict[str, Any] = {}
    for field_, expression in fields.items():
        driver, _, key = field_.partition(".")
        location.setdefault(driver, {})[key] = str(Tag(expression))
    start = "http" if kind in {"http", "https"} else f"{kind}://"
    return location, f"hasPrefix({uri}, '{start}') ? {path} : '{REPEATED_PATHS}{argo}'"


def _list_artifacts(compilation: Compilation, call: Call, name: str, argo: str, paths: set[str]) -> list[dict[str, Any]]:
    """Return Argo's input artifacts for a collected list: the whole folder of each output from which the list may come.

    Folders whose path is in `paths` already are left out.
    """
    found: list[dict[str, Any]] = []
    for number, origin in enumerate(sorted(call.origins.get(name, ()), key=lambda o: (o.kind, o.component, o.output))):
        if origin.kind != STORED:
            compilation.refusals.add(
                call.path,
                f"input {name}",
                "Argo cannot download a list of imported artifacts",
                "Import each artifact separately.",
            )
            continue
        path = f"{compilation.store.folder}{origin.prefix}"
        if path in paths:
            continue
        paths.add(path)
        found.append(
            {
                "name": argo if not number else f"{argo}-{number + 1}",
                "path": path,
                **_DOWNLOAD,
                **compilation.store.location(origin.prefix),
            }
        )
    return found


def model_images(context: Context) -> list[tuple[str, str, str]]:
    """Return the input artifacts that are OCI images.

    Returns:
        For each of them Argo's name of the input, the image, and the folder in which KFP's runtime expects the model.
    """
    found = []
    for name in context.call.component.input_artifacts:
        kinds = {origin.kind for origin in context.call.origins.get(name, ())}
        if kinds == {"oci"} and context.is_given(name):
            image = f"trimPrefix(fromJSON({context.input(name)}).uri, 'oci://')"
            found.append((context.names.inputs[name], str(Tag(image)), str(Tag(f"'/oci/' + replace({image}, '/', '_')"))))
    return found


def step_outputs(compilation: Compilation, call: Call) -> dict[str, Any]:
    """Return Argo's outputs of a step.

    Every parameter and every artifact descriptor is an output parameter that Argo reads from a file. Every artifact is an output
    artifact that Argo stores under its key.
    """
    component, names = call.component, names_of(call.component)
    launched = compilation.is_launched(component)
    fallback = {"default": "null"} if call.task.condition or call.task.iterator else {}
    parameters: list[dict[str, Any]] = [
        {
            "name": names.outputs[name],
            "valueFrom": {"path": escape_tags(f"{WIRE}/{name}") if launched else f"{OUTPUTS}/{names.outputs[name]}", **fallback},
        }
        for name in component.outputs
    ]
    artifacts: list[dict[str, Any]] = []
    context = compilation.context(call)
    for name, artifact in component.output_artifacts.items():
        if artifact.is_list:
            compilation.refusals.add(
                call.path,
                f"output {name}",
                "a step cannot make a list of artifacts",
                "Make one artifact that is a folder, or use a loop.",
            )
        # A container without the launcher writes no descriptor. Therefore the default of the output is the descriptor.
        default = fallback if launched else {"default": json_with_tags(descriptor(context, name, artifact))}
        path = escape_tags(f"{WIRE}/{name}") if launched else f"{OUTPUTS}/.{names.outputs[name]}.json"
        parameters.append({"name": names.outputs[name], "valueFrom": {"path": path, **default}})
        key = context.key(name)
        artifacts.append(
            {
                "name": names.outputs[name],
                "path": f"{compilation.store.folder}{key}",
                "archive": {"none": {}},
                "optional": True,
                **compilation.store.location(key),
            }
        )
    found: dict[str, Any] = {}
    if parameters:
        found["parameters"] = parameters
    if artifacts:
        found["artifacts"] = artifacts
    return found


def output_folders(context: Context, *, launched: bool) -> list[str]:
    """Return the folders to which the step writes. They exist when the step starts, because a volume is mounted at each."""
    component = context.call.component
    folders = [OUTPUTS] if component.outputs or launched else []
    folders += [f"{context.store.folder}{RUN}/{POD}"] if launched else []
    folders += [f"{context.store.folder}{context.key(name)}".rpartition("/")[0] for name in component.output_artifacts]
    return list(dict.fromkeys(folders))
