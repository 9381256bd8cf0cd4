"""A step's inputs and outputs: KFP's executor input as JSON that Argo fills, artifacts by key, outputs as wire JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.argo_names import input_of, names_of
from sluice.argo.expressions.artifact_keys import POD, RUN, STORED, Origin, text_expression
from sluice.argo.expressions.artifact_store import OUTPUTS, READABLE, WIRE, foreign_location
from sluice.argo.expressions.wire_json import Markup, Tag, dump, plain
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from sluice.argo.compilation import Call, Context, Lowering
    from sluice.argo.expressions.artifact_store import Store
    from sluice.ir.graph import Artifact

AGAIN = "/kfp/again/"


_PLAIN = {"archive": {"none": {}}, "mode": READABLE, "recurseMode": True, "optional": True}
"""How an input artifact is downloaded: as it is, for any user to read, and nothing where nothing was written."""


def executor_input(context: Context, config: dict[str, Any]) -> dict[str, Any]:
    """KFP's executor input: static JSON with a tag for each value."""
    component, call = context.call.component, context.call
    values: dict[str, Any] = {
        name: Tag(context.input(name))
        for name, parameter in component.inputs.items()
        if name not in call.absent and parameter.type is not ParameterType.TASK_CONFIG
    }
    values |= {name: config for name, parameter in component.inputs.items() if parameter.type is ParameterType.TASK_CONFIG}
    artifacts = {name: Tag(context.input(name)) for name in component.input_artifacts if name not in call.absent}
    return {
        "inputs": {"parameterValues": values} | ({"artifacts": artifacts} if artifacts else {}),
        "outputs": {
            "parameters": {name: {"outputFile": f"{OUTPUTS}/{context.names.outputs[name]}"} for name in component.outputs},
            "artifacts": {
                name: {"artifacts": [descriptor(context, name, artifact)]}
                for name, artifact in component.output_artifacts.items()
            },
            "outputFile": Markup(_result_file(context)),
        },
    }


def _result_file(context: Context) -> str:
    return f"{context.store.folder}{RUN}/{POD}/executor_output.json"


def result_place(context: Context) -> str:
    """The path of the executor's output file as an expression.

    Raises:
        ValueError: Nothing reads it, since no launcher runs the container.
    """
    if not context.is_launched:
        raise ValueError("only a Python component has an executor's output file; write each output to its own file")
    return text_expression(_result_file(context))


def launcher_input(context: Context, config: dict[str, Any]) -> dict[str, Any]:
    """What the launcher needs: the executor input, the declared types, the folder for wire JSON."""
    component = context.call.component
    return {
        "executor": executor_input(context, config),
        "types": {
            name: parameter.type.value
            for name, parameter in component.inputs.items()
            if name not in context.call.absent and parameter.type not in {ParameterType.LIST, ParameterType.STRUCT}
        },
        "outputs": {name: parameter.type.value for name, parameter in component.outputs.items()},
        "wire": WIRE,
    }


def descriptor(context: Context, name: str, artifact: Artifact) -> dict[str, Any]:
    """An output artifact as KFP describes it."""
    return {
        "name": name,
        "type": dict(artifact.schema),
        "uri": Markup(context.store.base + context.key(name)),
        "metadata": dict(artifact.metadata),
    }


def output_uri(context: Context, name: str) -> str:
    """An output artifact's URI as an expression."""
    return text_expression(context.store.base + context.key(name))


def output_place(context: Context, name: str) -> str:
    """An output artifact's path as an expression."""
    return text_expression(context.store.folder + context.key(name))


def input_place(context: Context, name: str) -> str:
    """Where a step finds an input artifact, as an expression of the path: the one that KFP's runtime derives from the URI."""
    origins = context.call.origins.get(name, frozenset())
    if context.call.component.input_artifacts[name].is_list:
        origin = next(iter(sorted(origins, key=repr)), Origin(STORED))
        return text_expression(f"{context.store.folder}{origin.prefix}")
    kind = next((origin.kind for origin in origins), STORED)
    return f"({_place(context.store, kind, f'fromJSON({context.input(name)}).uri', context.names.inputs[name])[1]})"


def input_artifacts(lowering: Lowering, call: Call) -> list[dict[str, Any]]:
    """Argo's input artifacts of a step: what to download, and where to put it."""
    names, component = names_of(call.component), call.component
    found: list[dict[str, Any]] = []
    uris: list[str] = []
    for name, artifact in component.input_artifacts.items():
        if name in call.absent:
            continue
        if artifact.is_list:
            found += _list_artifacts(lowering, call, name, names.inputs[name], {each["path"] for each in found})
            continue
        kinds = {origin.kind for origin in call.origins.get(name, ())}
        if len(kinds) > 1:
            lowering.findings.refuse(
                call.path,
                f"input {name}",
                f"it may come from {' or '.join(sorted(kinds))}, which are downloaded in different ways",
                "Let every branch import from the same kind of place.",
            )
        kind = next(iter(kinds), STORED)
        descriptor_ = f"fromJSON({input_of(names.inputs[name])})"
        nothing = "''" if kind == STORED else "'://'"
        uri = f"({descriptor_}?.uri ?? {nothing})" if name in call.unsure else f"{descriptor_}.uri"
        if kind == "oci":
            continue  # an init container's, see `model_images`
        location, place = _place(lowering.store, kind, uri, names.inputs[name])
        # Kubernetes mounts nothing twice at one path: the second goes where nobody looks.
        if uris:
            place = f"{uri} in [{', '.join(uris)}] ? '{AGAIN}{names.inputs[name]}' : {place}"
        uris.append(uri)
        found.append({"name": names.inputs[name], "path": str(Tag(place)), **_PLAIN, **location})
    return found


def _place(store: Store, kind: str, uri: str, argo: str) -> tuple[dict[str, Any], str]:
    """Argo's location of an artifact, and an expression of its path."""
    if kind == STORED:
        return store.read(uri, AGAIN + argo)
    fields, place = foreign_location(kind, uri)
    location: dict[str, Any] = {}
    for field_, expression in fields.items():
        driver, _, key = field_.partition(".")
        location.setdefault(driver, {})[key] = str(Tag(expression))
    start = "http" if kind in {"http", "https"} else f"{kind}://"
    return location, f"hasPrefix({uri}, '{start}') ? {place} : '{AGAIN}{argo}'"


def _list_artifacts(lowering: Lowering, call: Call, name: str, argo: str, places: set[str]) -> list[dict[str, Any]]:
    """A collected list: the folder of each output that it may come from, as a whole, save for the `places` that are there."""
    found: list[dict[str, Any]] = []
    for number, origin in enumerate(sorted(call.origins.get(name, ()), key=lambda o: (o.kind, o.component, o.output))):
        if origin.kind != STORED:
            lowering.findings.refuse(
                call.path, f"input {name}", "a list of imported artifacts cannot be downloaded", "Import each of them by itself."
            )
            continue
        place = f"{lowering.store.folder}{origin.prefix}"
        if place in places:
            continue
        places.add(place)
        found.append(
            {
                "name": argo if not number else f"{argo}-{number + 1}",
                "path": place,
                **_PLAIN,
                **lowering.store.location(origin.prefix),
            }
        )
    return found


def model_images(context: Context) -> list[tuple[str, str, str]]:
    """Input artifacts that are OCI images: Argo's input name, the image, and the folder that KFP's runtime looks in."""
    found = []
    for name in context.call.component.input_artifacts:
        kinds = {origin.kind for origin in context.call.origins.get(name, ())}
        if kinds == {"oci"} and context.is_given(name):
            image = f"trimPrefix(fromJSON({context.input(name)}).uri, 'oci://')"
            found.append((context.names.inputs[name], str(Tag(image)), str(Tag(f"'/oci/' + replace({image}, '/', '_')"))))
    return found


def outputs(lowering: Lowering, call: Call) -> dict[str, Any]:
    """Argo's outputs of a step: a file for each parameter and each artifact's descriptor, and each artifact by key."""
    component, names = call.component, names_of(call.component)
    launched = lowering.is_launched(component)
    fallback = {"default": "null"} if call.task.condition or call.task.iterator else {}
    parameters: list[dict[str, Any]] = [
        {
            "name": names.outputs[name],
            "valueFrom": {"path": plain(f"{WIRE}/{name}") if launched else f"{OUTPUTS}/{names.outputs[name]}", **fallback},
        }
        for name in component.outputs
    ]
    artifacts: list[dict[str, Any]] = []
    context = lowering.context(call)
    for name, artifact in component.output_artifacts.items():
        if artifact.is_list:
            lowering.findings.refuse(
                call.path, f"output {name}", "a step cannot make a list of artifacts", "Make one artifact, a folder, or loop."
            )
        # What a container does not say of its artifact is known all the same: no file, and the default is the descriptor.
        default = fallback if launched else {"default": dump(descriptor(context, name, artifact))}
        path = plain(f"{WIRE}/{name}") if launched else f"{OUTPUTS}/.{names.outputs[name]}.json"
        parameters.append({"name": names.outputs[name], "valueFrom": {"path": path, **default}})
        key = context.key(name)
        artifacts.append(
            {
                "name": names.outputs[name],
                "path": f"{lowering.store.folder}{key}",
                "archive": {"none": {}},
                "optional": True,
                **lowering.store.location(key),
            }
        )
    found: dict[str, Any] = {}
    if parameters:
        found["parameters"] = parameters
    if artifacts:
        found["artifacts"] = artifacts
    return found


def mounts(context: Context, *, launched: bool) -> list[str]:
    """Folders that the step writes to, which are there when it starts."""
    component = context.call.component
    folders = [OUTPUTS] if component.outputs or launched else []
    folders += [f"{context.store.folder}{RUN}/{POD}"] if launched else []
    folders += [f"{context.store.folder}{context.key(name)}".rpartition("/")[0] for name in component.output_artifacts]
    return list(dict.fromkeys(folders))
