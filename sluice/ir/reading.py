"""Read KFP's compiled IR into the graph. The IR is one or two YAML documents: a PipelineSpec, and optionally a PlatformSpec."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import yaml

from sluice.errors import DataError
from sluice.ir.documents import find_job, find_platforms, find_spec, load_documents
from sluice.ir.fields import find_unread
from sluice.ir.graph import (
    Artifact,
    Binding,
    Component,
    Constant,
    Container,
    Dag,
    Executor,
    FromFinalStatus,
    FromInput,
    FromTask,
    Importer,
    Iterator,
    Parameter,
    ParameterType,
    Pipeline,
    Retry,
    Source,
    Task,
    Unknown,
)
from sluice.ir.references import check_components, raise_missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluice.ir.fields import Unread

_SELECTOR = re.compile(r"""^parseJson\(string_value\)((?:\[(?:"[^"]*"|'[^']*'|\d+)\])+)$""")
_KEY = re.compile(r"""\[(?:"([^"]*)"|'([^']*)'|(\d+))\]""")
_OLD_TYPES = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}

Raw = dict[str, Any]


def read_ir(file: Path) -> Pipeline:
    """Read a file of compiled IR.

    Raises:
        DataError: The file does not exist, is not YAML, or is not KFP IR. The message says where the error is.
    """
    return parse_ir(read_file(file), source=str(file))


def read_file(file: Path) -> str:
    """Return the text of a file of compiled IR.

    Raises:
        DataError: The file does not exist, or it is not text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "the file does not exist" if isinstance(error, FileNotFoundError) else str(error)
        hint = "Give the name of a pipeline, a file.py[:function], or a file of compiled KFP IR."
        raise DataError(f"{file} cannot be read: {why}", hint=hint) from error


def parse_ir(text: str, *, source: str = "the IR", hint: str = "Compile the pipeline again with KFP.") -> Pipeline:
    """Parse compiled IR.

    Args:
        text: The YAML: a PipelineSpec, optionally followed by a PlatformSpec.
        source: Name of the text in messages.
        hint: What the user can do if the text is not IR.

    Raises:
        DataError: The text is not YAML, or it is not KFP IR.
    """
    try:
        documents = load_documents(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML raises ValueError for impossible dates.
        raise DataError(f"{source} is not YAML: {error}", hint=hint) from error
    spec = find_spec(documents)
    if spec is None:
        raise DataError(
            f"{source} is not a KFP pipeline: it must have both root and deploymentSpec",
            hint="Give a file that `kfp dsl compile` or `kfp.compiler` wrote (schema version 2).",
        )
    try:
        platforms = find_platforms(documents)
        return _pipeline(spec, platforms.get("kubernetes") or {}, find_unread(spec, platforms, find_job(documents)))
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{source} is not valid KFP IR: {_describe(error)}", hint=hint) from error


def _describe(error: Exception) -> str:
    if isinstance(error, ValueError | yaml.YAMLError):
        return str(error)
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return f"a field has a value of the wrong type ({error})"


def _pipeline(spec: Raw, platform: Raw, unread: tuple[Unread, ...]) -> Pipeline:
    executors = (spec.get("deploymentSpec") or {}).get("executors") or {}
    settings = (platform.get("deploymentSpec") or {}).get("executors") or {}
    components = {name: _component(name, raw, executors, settings) for name, raw in (spec.get("components") or {}).items()}
    root = _component("root", spec["root"], executors, settings)
    if not isinstance(root.body, Dag):
        raise ValueError("root has no dag")  # noqa: TRY004 - the document has a wrong value
    check_components(root, components)
    info = spec.get("pipelineInfo") or {}
    return Pipeline(
        name=info.get("name", "pipeline"),
        display_name=info.get("displayName", ""),
        description=info.get("description", ""),
        root=root,
        components=components,
        default_root=spec.get("defaultPipelineRoot", ""),
        config=platform.get("pipelineConfig") or {},
        unread=unread,
    )


def _component(name: str, raw: Raw, executors: Raw, settings: Raw) -> Component:
    inputs, outputs = raw.get("inputDefinitions") or {}, raw.get("outputDefinitions") or {}
    label = raw.get("executorLabel", "")
    if "dag" not in raw and not label:
        raise ValueError(f"{name} has neither tasks nor an executor")
    if "dag" not in raw and label not in executors:
        raise_missing(name, f"executor {label!r}")
    body = _dag(raw["dag"]) if "dag" in raw else _executor(executors[label], name)
    return Component(
        name=name,
        body=body,
        inputs={key: _parameter(value) for key, value in (inputs.get("parameters") or {}).items()},
        input_artifacts={key: _artifact(value) for key, value in (inputs.get("artifacts") or {}).items()},
        outputs={key: _parameter(value) for key, value in (outputs.get("parameters") or {}).items()},
        output_artifacts={key: _artifact(value) for key, value in (outputs.get("artifacts") or {}).items()},
        platform=settings.get(label) or {},
        passthroughs={p["field"]: bool(p.get("applyToTask")) for p in raw.get("taskConfigPassthroughs") or ()},
    )


def _parameter(raw: Raw) -> Parameter:
    kind = ParameterType(raw.get("parameterType") or _OLD_TYPES[raw["type"]])
    return Parameter(
        type=kind,
        default=in_declared_type(raw.get("defaultValue"), kind),
        has_default=raw.get("defaultValue") is not None,
        optional=bool(raw.get("isOptional")),
    )


def in_declared_type(value: Any, kind: ParameterType) -> Any:  # noqa: ANN401 - any JSON value
    """Return a constant in its declared type. The IR may hold 3.0 for an integer, and 3 for a float.

    The numbers inside a list or a struct have no declared type. A whole number there becomes an integer, because KFP's compiler
    writes 3.0 for both, and KFP's backend passes 3 to the step.
    """
    if kind in {ParameterType.LIST, ParameterType.STRUCT}:
        return _whole(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if kind is ParameterType.INTEGER and float(value).is_integer():
        return int(value)
    if kind is ParameterType.DOUBLE:
        return float(value)
    return int(value) if kind is ParameterType.STRING and float(value).is_integer() else value


def _whole(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _whole(entry) for key, entry in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _artifact(raw: Raw) -> Artifact:
    return Artifact(
        schema=_schema(raw.get("artifactType") or {}),
        is_list=bool(raw.get("isArtifactList")),
        optional=bool(raw.get("isOptional")),
        metadata=raw.get("metadata") or {},
    )


def _schema(raw: Raw) -> dict[str, str]:
    return {key: str(raw[key]) for key in ("schemaTitle", "schemaUri", "instanceSchema", "schemaVersion") if key in raw}


def _executor(raw: Raw, name: str) -> Executor:
    if "container" in raw:
        container = raw["container"]
        return Container(
            image=container.get("image", ""),
            command=tuple(str(part) for part in container.get("command") or ()),
            args=tuple(str(part) for part in container.get("args") or ()),
            env=tuple((entry["name"], str(entry.get("value", ""))) for entry in container.get("env") or ()),
            resources=container.get("resources") or {},
            has_hook="lifecycle" in container,
        )
    if "importer" in raw:
        importer = raw["importer"]
        uri = importer.get("artifactUri") or {}
        return Importer(
            uri=FromInput(uri["runtimeParameter"]) if "runtimeParameter" in uri else Constant(_constant(uri)),
            schema=_schema(importer.get("typeSchema") or {}),
            metadata=importer.get("metadata") or {},
            to_workspace=bool(importer.get("downloadToWorkspace")),
        )
    known = [kind for kind in ("resolver", "customJob") if kind in raw]
    if not known:
        raise ValueError(f"the executor of {name} is of an unknown kind")
    return Unknown(known[0])


def _constant(raw: Raw) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a ``ValueOrRuntimeParameter``, in its new or old form."""
    if "constant" in raw:
        return raw["constant"]
    old = raw.get("constantValue") or {}
    return next(iter(old.values()), None)


def _dag(raw: Raw) -> Dag:
    outputs = raw.get("outputs") or {}
    return Dag(
        tasks={name: _task(name, task) for name, task in (raw.get("tasks") or {}).items()},
        parameters={name: _selected(output) for name, output in (outputs.get("parameters") or {}).items()},
        artifacts={
            name: tuple(FromTask(s["producerSubtask"], s["outputArtifactKey"]) for s in output.get("artifactSelectors") or ())
            for name, output in (outputs.get("artifacts") or {}).items()
        },
    )


def _selected(raw: Raw) -> tuple[FromTask, ...]:
    selectors = raw["valueFromOneof"]["parameterSelectors"] if "valueFromOneof" in raw else [raw["valueFromParameter"]]
    return tuple(FromTask(s["producerSubtask"], s["outputParameterKey"]) for s in selectors)


def _task(name: str, raw: Raw) -> Task:
    inputs, trigger, caching = raw.get("inputs") or {}, raw.get("triggerPolicy") or {}, raw.get("cachingOptions") or {}
    return Task(
        name=name,
        display_name=(raw.get("taskInfo") or {}).get("name", name),
        component=raw["componentRef"]["name"],
        parameters={key: _binding(value) for key, value in (inputs.get("parameters") or {}).items()},
        artifacts={key: _artifact_source(value) for key, value in (inputs.get("artifacts") or {}).items()},
        after=tuple(raw.get("dependentTasks") or ()),
        condition=trigger.get("condition", ""),
        when_all_ended=trigger.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED",
        iterator=_iterator(raw),
        retry=_retry(raw["retryPolicy"]) if raw.get("retryPolicy") else None,
        cached=bool(caching.get("enableCache")),
        cache_key=caching.get("cacheKey", ""),
    )


def _binding(raw: Raw) -> Binding:
    return Binding(_source(raw), read_selector(raw.get("parameterExpressionSelector", "")))


def _source(raw: Raw) -> Source:
    if "taskOutputParameter" in raw:
        return FromTask(raw["taskOutputParameter"]["producerTask"], raw["taskOutputParameter"]["outputParameterKey"])
    if "componentInputParameter" in raw:
        return FromInput(raw["componentInputParameter"])
    if "taskFinalStatus" in raw:
        return FromFinalStatus(raw["taskFinalStatus"]["producerTask"])
    value = raw["runtimeValue"]
    return FromInput(value["runtimeParameter"]) if "runtimeParameter" in value else Constant(_constant(value))


def read_source(raw: Mapping[str, Any]) -> Source:
    """Read an ``InputParameterSpec`` of the PlatformSpec."""
    return _source(dict(raw))


def read_selector(text: str) -> tuple[str | int, ...]:
    """Return the keys of a ``parameterExpressionSelector``.

    Raises:
        ValueError: The selector does not have the one form that KFP's compiler writes.
    """
    if not text:
        return ()
    match = _SELECTOR.match(text)
    if not match:
        raise ValueError(f"parameterExpressionSelector {text!r} is not parseJson(string_value)[…]")
    return tuple(int(number) if number else double or single for double, single, number in _KEY.findall(match[1]))


def _artifact_source(raw: Raw) -> FromInput | FromTask:
    if "componentInputArtifact" in raw:
        return FromInput(raw["componentInputArtifact"])
    return FromTask(raw["taskOutputArtifact"]["producerTask"], raw["taskOutputArtifact"]["outputArtifactKey"])


def _iterator(raw: Raw) -> Iterator | None:
    parallelism = int((raw.get("iteratorPolicy") or {}).get("parallelismLimit", 0))
    if "artifactIterator" in raw:
        loop = raw["artifactIterator"]
        return Iterator(
            loop["itemInput"], FromInput(loop["items"]["inputArtifact"]), over_artifacts=True, parallelism=parallelism
        )
    if "parameterIterator" not in raw:
        return None
    loop = raw["parameterIterator"]
    if "inputParameter" in loop["items"]:
        return Iterator(loop["itemInput"], FromInput(loop["items"]["inputParameter"]), parallelism=parallelism)
    items = next(iter(load_documents(loop["items"]["raw"])), None)
    if not isinstance(items, list):
        raise ValueError(f"the items of the loop are not a list: {loop['items']['raw']!r}")  # noqa: TRY004
    return Iterator(loop["itemInput"], Constant(items), parallelism=parallelism)


def _retry(raw: Raw) -> Retry:
    return Retry(
        limit=int(raw.get("maxRetryCount", 0)),
        backoff_seconds=_seconds(raw.get("backoffDuration")),
        factor=float(raw.get("backoffFactor", 0.0)),
        backoff_max_seconds=_seconds(raw.get("backoffMaxDuration")),
    )


def _seconds(raw: str | None) -> float:
    """Return a protobuf duration, for example ``3600s``, in seconds."""
    return float(raw.removesuffix("s")) if raw else 0.0


def is_exact(value: Any, kind: ParameterType | None = None) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether KFP's rounding to doubles keeps every number of a constant exact.

    A number that is declared as a double counts as exact.
    """
    if isinstance(value, dict):
        return all(is_exact(entry) for entry in value.values())
    if isinstance(value, list):
        return all(is_exact(entry) for entry in value)
    if kind is ParameterType.DOUBLE or isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return not math.isfinite(value) or abs(value) < 2**53
