"""The fields of KFP's IR that Sluice reads.

A newer KFP or a person may write other fields. Sluice reports them and never ignores them silently. Source of the fields:
kubeflow/pipelines ``api/v2alpha1/pipeline_spec.proto`` (2026-08).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = "*"
"""Stands for every name in a map, for example a map of tasks or of parameters."""

_TEXT, _ANY = "text", "any"
_STRATEGIES = frozenset({"TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED", "ALL_UPSTREAM_TASKS_COMPLETED"})
_OF_KUBERNETES = ("AFFINITY", "TOLERATIONS", "NODE_SELECTOR", "VOLUMES")
_PASSED = frozenset({"NONE", "RESOURCES", "ENV", *(f"KUBERNETES_{field}" for field in _OF_KUBERNETES)})
_SCHEMA = {"schemaTitle": _TEXT, "schemaUri": _TEXT, "instanceSchema": _TEXT, "schemaVersion": _ANY}
_VALUE = {"constant": _ANY, "constantValue": _ANY, "runtimeParameter": _TEXT}
_OUTPUT = {"producerTask": _TEXT, "outputParameterKey": _TEXT}
_SELECTED = {"producerSubtask": _TEXT, "outputParameterKey": _TEXT}
_PARAMETER = {"parameterType": _TEXT, "type": _TEXT, "defaultValue": _ANY, "isOptional": _ANY, "description": _ANY}
_ARTIFACT = {"artifactType": _SCHEMA, "isArtifactList": _ANY, "isOptional": _ANY, "description": _ANY, "metadata": _ANY}
_DEFINITIONS = {"parameters": {EACH: _PARAMETER}, "artifacts": {EACH: _ARTIFACT}}
_BINDING = {
    "taskOutputParameter": _OUTPUT,
    "runtimeValue": _VALUE,
    "componentInputParameter": _TEXT,
    "taskFinalStatus": {"producerTask": _TEXT},
    "parameterExpressionSelector": _TEXT,
}
_ARTIFACT_SOURCE = {
    "taskOutputArtifact": {"producerTask": _TEXT, "outputArtifactKey": _TEXT},
    "componentInputArtifact": _TEXT,
}
_TASK = {
    "taskInfo": {"name": _TEXT},
    "inputs": {"parameters": {EACH: _BINDING}, "artifacts": {EACH: _ARTIFACT_SOURCE}},
    "dependentTasks": _ANY,
    "cachingOptions": {"enableCache": _ANY, "cacheKey": _TEXT},
    "componentRef": {"name": _TEXT},
    "triggerPolicy": {"condition": _TEXT, "strategy": _STRATEGIES},
    "artifactIterator": {"items": {"inputArtifact": _TEXT}, "itemInput": _TEXT},
    "parameterIterator": {"items": {"raw": _TEXT, "inputParameter": _TEXT}, "itemInput": _TEXT},
    "retryPolicy": {"maxRetryCount": _ANY, "backoffDuration": _TEXT, "backoffFactor": _ANY, "backoffMaxDuration": _TEXT},
    "iteratorPolicy": {"parallelismLimit": _ANY},
}
_DAG = {
    "tasks": {EACH: _TASK},
    "outputs": {
        "parameters": {
            EACH: {"valueFromParameter": _SELECTED, "valueFromOneof": {"parameterSelectors": _SELECTED}},
        },
        "artifacts": {EACH: {"artifactSelectors": {"producerSubtask": _TEXT, "outputArtifactKey": _TEXT}}},
    },
}
_COMPONENT = {
    "inputDefinitions": _DEFINITIONS,
    "outputDefinitions": _DEFINITIONS,
    "dag": _DAG,
    "executorLabel": _TEXT,
    "taskConfigPassthroughs": {"field": _PASSED, "applyToTask": _ANY},
}
_RESOURCES = {
    **dict.fromkeys(("cpuLimit", "memoryLimit", "cpuRequest", "memoryRequest"), _ANY),
    **dict.fromkeys(("resourceCpuLimit", "resourceMemoryLimit", "resourceCpuRequest", "resourceMemoryRequest"), _ANY),
    "accelerator": {"type": _TEXT, "count": _ANY, "resourceType": _TEXT, "resourceCount": _ANY},
}
_EXECUTOR = {
    "container": {
        "image": _TEXT,
        "command": _ANY,
        "args": _ANY,
        "lifecycle": _ANY,
        "resources": _RESOURCES,
        "env": {"name": _TEXT, "value": _ANY},
    },
    "importer": {
        "artifactUri": _VALUE,
        "typeSchema": _SCHEMA,
        "metadata": _ANY,
        "downloadToWorkspace": _ANY,
        "reimport": _ANY,  # It says whether KFP's metadata store records the artifact again. Argo has no such store.
    },
    "resolver": _ANY,
    "customJob": _ANY,
}
_PLATFORM = {
    "deploymentSpec": {"executors": {EACH: _ANY}},  # The code that lowers a setting also checks it.
    "pipelineConfig": {
        "workspace": {"size": _ANY, "kubernetes": {"pvcSpecPatch": _ANY}},
        **dict.fromkeys(("resourceTtlOnCompletion", "resourceTtlOnSuccess", "resourceTtlOnFailure"), _ANY),
        "activeDeadlineSeconds": _ANY,
    },
    "platform": _ANY,
}
_SPEC = {
    "pipelineInfo": {"name": _TEXT, "displayName": _TEXT, "description": _TEXT},
    "deploymentSpec": {"executors": {EACH: _EXECUTOR}},
    "sdkVersion": _ANY,
    "schemaVersion": _ANY,
    "components": {EACH: _COMPONENT},
    "root": _COMPONENT,
    "defaultPipelineRoot": _TEXT,
}
_ABOUT: tuple[tuple[str, ...], ...] = ((), ("pipelineInfo",))
"""Paths of the objects whose own fields only describe the pipeline: its name, its description, and the versions that wrote it."""

_HARMLESS = {"literals", "properties", "customProperties"}
"""Fields that Sluice does not read and that do not change a run. KFP checks literals when a person submits a run."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A field of the IR that Sluice does not read.

    Attributes:
        place: The component, executor or task that has the field; names are joined by dots.
        field: Path of the field inside that place, joined by dots.
        matters: Whether the field may change what a run does.
    """

    place: str
    field: str
    matters: bool


def find_unread(spec: dict[str, Any], platforms: dict[str, Any], job: dict[str, Any]) -> tuple[Unread, ...]:
    """Return the fields of a PipelineSpec, a PlatformSpec and the PipelineJob around them that Sluice does not read.

    Raises:
        TypeError: A field that must be text is not text.
    """
    found = [*_unread(spec, _SPEC, ())]
    for name, platform in platforms.items():
        if name == "kubernetes":
            found += _unread(platform, _PLATFORM, ("platforms", name))
        else:
            found.append(Unread("pipeline", f"platforms.{name}", matters=False))
    if job.get("runtimeConfig"):  # It holds the values of one run, and so it does not belong to the pipeline.
        found.append(Unread("pipeline", "runtimeConfig", matters=False))
    return tuple(dict.fromkeys(found))


def _unread(value: Any, known: Any, path: tuple[str, ...]) -> Iterator[Unread]:  # noqa: ANN401 - any JSON value
    if known == _TEXT and value is not None and not isinstance(value, str):
        raise TypeError(f"{'.'.join(path)} is {value!r}, which is not text")
    if isinstance(known, frozenset) and value not in known:
        place, field = _place(path)
        yield Unread(place, f"{field} {value}", matters=True)
    if isinstance(value, list) and isinstance(known, dict):
        for each in value:
            yield from _unread(each, known, path)
    if not isinstance(value, dict) or not isinstance(known, dict):
        return
    for name, inner in value.items():
        below = known.get(name, known.get(EACH))
        if below is None:
            place, field = _place((*path, str(name)))
            yield Unread(place, field, matters=path[:1] not in _ABOUT and name not in _HARMLESS)
        else:
            yield from _unread(inner, below, (*path, str(name)))


def _place(path: tuple[str, ...]) -> tuple[str, str]:
    """Return the component, executor or task to which a path leads, and the path of the field inside it."""
    match path:
        case ("root", "dag", "tasks", task, *field) if field:
            return task, ".".join(field)
        case ("components", component, "dag", "tasks", task, *field) if field:
            return f"{component}.{task}", ".".join(field)
        case ("components", component, *field) if field:
            return component, ".".join(field)
        case ("deploymentSpec", "executors", executor, *field) if field:
            return executor, ".".join(field)
        case ("root", *field) if field:
            return "root", ".".join(field)
    return "pipeline", ".".join(path)
