"""Compare two pipelines by meaning: by their steps, images, code, inputs and settings, not by lines of text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sluice.ir.graph import Constant, Container, Dag, FromFinalStatus, FromInput, FromTask, Importer
from sluice.ir.lint import walk_tasks
from sluice.ir.reading import in_declared_type

if TYPE_CHECKING:
    from sluice.ir.graph import Artifact, Binding, Component, Parameter, Pipeline, Source, Task


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two pipelines.

    Attributes:
        place: Path of the step, joined by dots, or ``pipeline`` for a property of the pipeline itself.
        what: ``added``, ``removed``, or the name of the property that changed.
        old: The value in the old pipeline, as text for people. It is empty if the old pipeline has no such value.
        new: The value in the new pipeline, as text for people. It is empty if the new pipeline has no such value.
    """

    place: str
    what: str
    old: str = ""
    new: str = ""


def compare(old: Pipeline, new: Pipeline) -> list[Difference]:
    """Return the differences in the order of the old pipeline, followed by the steps that the new pipeline adds."""
    found = _fields("pipeline", _pipeline(old), _pipeline(new))
    before = {path: _step(task, component) for path, task, component in walk_tasks(old)}
    after = {path: _step(task, component) for path, task, component in walk_tasks(new)}
    for path, step in before.items():
        found += _fields(path, step, after[path]) if path in after else [Difference(path, "removed", old=step["runs"])]
    return found + [Difference(path, "added", new=step["runs"]) for path, step in after.items() if path not in before]


def _fields(place: str, old: dict[str, str], new: dict[str, str]) -> list[Difference]:
    names = dict.fromkeys([*old, *new])
    return [
        Difference(place, name, old.get(name, ""), new.get(name, "")) for name in names if old.get(name, "") != new.get(name, "")
    ]


def _pipeline(pipeline: Pipeline) -> dict[str, str]:
    return {
        "name": pipeline.name,
        "display name": pipeline.display_name,
        "description": pipeline.description,
        "root": pipeline.default_root,
        **{f"input {name}": _parameter(parameter) for name, parameter in pipeline.root.inputs.items()},
        **{f"input {name}": _artifact(artifact) for name, artifact in pipeline.root.input_artifacts.items()},
        **_outputs(pipeline.root),
        **{f"setting {name}": _text(value) for name, value in pipeline.config.items()},
    }


def _outputs(component: Component) -> dict[str, str]:
    """Return the outputs of a component with their types. For a DAG, each output also names the task that makes it."""
    kinds = {name: str(parameter.type) for name, parameter in component.outputs.items()}
    kinds |= {name: _artifact(artifact) for name, artifact in component.output_artifacts.items()}
    found = {f"output {name}": kind for name, kind in kinds.items()}
    if isinstance(component.body, Dag):
        for name, sources in (*component.body.parameters.items(), *component.body.artifacts.items()):
            selected = " or ".join(_source(source) for source in sources)
            found[f"output {name}"] = f"{kinds[name]} of {selected}" if name in kinds else selected
    return found


def _artifact(artifact: Artifact) -> str:
    title = next(iter(artifact.schema.values()), "artifact")
    metadata = f" {_text(dict(artifact.metadata))}" if artifact.metadata else ""
    return f"{'list of ' if artifact.is_list else ''}{title}{' (optional)' if artifact.optional else ''}{metadata}"


def _declared(task: Task, component: Component) -> dict[str, str]:
    """Return the declared inputs of a component: the type of each input that the task gives, and the default of every other."""
    found = {}
    for name, parameter in component.inputs.items():
        if name in task.parameters or (task.iterator and task.iterator.item == name):
            found[f"type of input {name}"] = str(parameter.type)
        else:
            found[f"input {name}"] = f"not given: {_parameter(parameter)}"
    return found | {f"type of input {name}": _artifact(artifact) for name, artifact in component.input_artifacts.items()}


def _parameter(parameter: Parameter) -> str:
    default = f" = {_text(parameter.default)}" if parameter.has_default else " (optional)" if parameter.optional else ""
    return f"{parameter.type}{default}"


def _step(task: Task, component: Component) -> dict[str, str]:
    step = {
        "runs": _runs(component),
        "display name": task.display_name if task.display_name != task.name else "",
        **_body(component),
        **_declared(task, component),
        **{f"input {name}": _binding(binding, component, name) for name, binding in task.parameters.items()},
        **{f"input {name}": _source(source) for name, source in task.artifacts.items()},
        "after": ", ".join(sorted(task.after)),
        "condition": task.condition,
        "runs after a failure": "yes" if task.when_all_ended else "",
        "retries": _text(asdict(task.retry)) if task.retry else "",
        "cached": f"yes {task.cache_key}".strip() if task.cached else "no",
        **_outputs(component),
        **{f"setting {name}": _text(value) for name, value in component.platform.items()},
        **{
            f"passed to TaskConfig: {name}": "and kept by the step" if kept else "only"
            for name, kept in component.passthroughs.items()
        },
    }
    if task.iterator:
        step["item"] = task.iterator.item
        step["loop"] = _source(task.iterator.items)
        step["parallelism"] = str(task.iterator.parallelism or "all")
    return {name: value for name, value in step.items() if value}


def _runs(component: Component) -> str:
    match component.body:
        case Container(image=image):
            return f"image {image}"
        case Importer():
            return "an importer"
        case Dag():
            return "a DAG"
        case body:
            return body.kind


def _body(component: Component) -> dict[str, str]:
    if isinstance(component.body, Importer):
        importer = component.body
        return {
            "uri": _source(importer.uri),
            "metadata": _text(dict(importer.metadata)),
            "type": _text(dict(importer.schema)),
            "copied into the workspace": "yes" if importer.to_workspace else "",
        }
    if not isinstance(component.body, Container):
        return {}
    container = component.body
    return {
        "command": "\n".join((*container.command, *container.args)),
        **{f"env {name}": value for name, value in container.env},
        **{f"resource {name}": _text(value) for name, value in container.resources.items()},
    }


def _binding(binding: Binding, component: Component, name: str) -> str:
    if isinstance(binding.source, Constant) and name in component.inputs:
        return _text(in_declared_type(binding.source.value, component.inputs[name].type))
    keys = "".join(f"[{key!r}]" for key in binding.selector)
    return f"{_source(binding.source)}{keys}"


def _source(source: Source) -> str:
    match source:
        case Constant(value):
            return _text(value)
        case FromInput(name):
            return f"input {name}"
        case FromTask(task, key):
            return f"output {key} of {task}"
        case FromFinalStatus(task):
            return f"final status of {task}"


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
