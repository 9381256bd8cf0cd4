"""What a change of a pipeline means: steps, images, code, inputs and settings that differ, not lines of text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sluice.ir.graph import Constant, Container, Dag, FromFinalStatus, FromInput, FromTask, Importer
from sluice.ir.lint import walk
from sluice.ir.reading import typed

if TYPE_CHECKING:
    from sluice.ir.graph import Artifact, Binding, Component, Parameter, Pipeline, Source, Task


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        place: The step, its path joined by dots; ``pipeline`` for the pipeline's own.
        what: ``added``, ``removed``, or the name of what changed.
        old: As it was, for people; empty where it was not there.
        new: As it is; empty where it is not there.
    """

    place: str
    what: str
    old: str = ""
    new: str = ""


def compare(old: Pipeline, new: Pipeline) -> list[Difference]:
    """What differs, in the order of the old pipeline, then what the new one adds."""
    found = _fields("pipeline", _pipeline(old), _pipeline(new))
    before = {path: _step(task, component) for path, task, component in walk(old)}
    after = {path: _step(task, component) for path, task, component in walk(new)}
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
    """What a component gives: its types, and of a DAG, which task's output it is."""
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
    """What a component declares of its inputs: the default of one that is not given, the type of one that is."""
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
        "when upstream failed": "runs too" if task.when_all_ended else "",
        "retries": _text(asdict(task.retry)) if task.retry else "",
        "cached": f"yes {task.cache_key}".strip() if task.cached else "no",
        **_outputs(component),
        **{f"setting {name}": _text(value) for name, value in component.platform.items()},
        **{f"passed on {name}": "and kept" if kept else "only" for name, kept in component.passthroughs.items()},
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
            "into the workspace": "yes" if importer.to_workspace else "",
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
        return _text(typed(binding.source.value, component.inputs[name].type))
    keys = "".join(f"[{key!r}]" for key in binding.selector)
    return f"{_source(binding.source)}{keys}"


def _source(source: Source) -> str:
    match source:
        case Constant(value):
            return _text(value)
        case FromInput(name):
            return f"input {name}"
        case FromTask(task, key):
            return f"{task}'s {key}"
        case FromFinalStatus(task):
            return f"how {task} ended"


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
