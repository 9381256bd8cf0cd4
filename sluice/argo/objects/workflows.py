"""The whole object: Workflow, WorkflowTemplate or CronWorkflow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sluice.argo.compilation import Lowering, Options
from sluice.argo.dags.artifact_origins import Known
from sluice.argo.dags.dag_templates import lower_dag
from sluice.argo.expressions.argo_names import names_of
from sluice.argo.expressions.artifact_store import TEMPORARY, VOLUME
from sluice.argo.expressions.wire_json import launcher_text, wire
from sluice.argo.pods.step_pods import WORKSPACE_VOLUME
from sluice.argo.refusals import Findings
from sluice.argo.steps.container_templates import LAUNCHER_ANNOTATION, STATE
from sluice.ir.graph import ParameterType
from sluice.ir.lint import find_unread_fields

if TYPE_CHECKING:
    from sluice.ir.graph import Parameter, Pipeline

API_VERSION = "argoproj.io/v1alpha1"
_TTL = {
    "resourceTtlOnCompletion": "secondsAfterCompletion",
    "resourceTtlOnSuccess": "secondsAfterSuccess",
    "resourceTtlOnFailure": "secondsAfterFailure",
}


def lower_pipeline(pipeline: Pipeline, options: Options) -> tuple[dict[str, Any], Findings]:
    """Lower a pipeline.

    Returns:
        The object as plain dicts, and what was refused; where something was, the object is not to be used.
    """
    findings = Findings("argo")
    lowering = Lowering(pipeline, options, findings)
    findings.refusals += find_unread_fields(pipeline, matters=True)
    entrypoint = lower_dag(lowering, pipeline.root, known=Known())
    return _object(lowering, entrypoint), findings


def _object(lowering: Lowering, entrypoint: str) -> dict[str, Any]:
    options = lowering.options
    spec = _spec(lowering, entrypoint)
    annotations = _annotations(lowering)
    carried = annotations | ({LAUNCHER_ANNOTATION: launcher_text()} if lowering.uses_launcher else {})
    is_run = options.kind == "Workflow"
    metadata = _filled(
        {
            "generateName" if is_run else "name": f"{lowering.name}-" if is_run else lowering.name,
            "namespace": options.namespace,
            "labels": dict(options.labels),
            "annotations": carried if is_run else annotations,
        }
    )
    found = {"apiVersion": API_VERSION, "kind": options.kind, "metadata": metadata}
    if is_run:
        return found | {"spec": spec}
    # What the runs of a template or a schedule carry.
    of_runs = _filled({"workflowMetadata": _filled({"labels": dict(options.labels), "annotations": carried})})
    if options.kind == "WorkflowTemplate":
        return found | {"spec": of_runs | spec}
    schedule = {"schedules": list(options.schedules), "timezone": options.timezone, "concurrencyPolicy": options.concurrency}
    return found | {"spec": _filled(schedule) | of_runs | {"workflowSpec": spec}}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {key: value for key, value in fields.items() if value}


def _annotations(lowering: Lowering) -> dict[str, str]:
    """The user's annotations, and what Argo's own page shows of a workflow."""
    pipeline = lowering.pipeline
    shown = {"workflows.argoproj.io/title": pipeline.display_name, "workflows.argoproj.io/description": pipeline.description}
    return {key: text.replace("{{", "{ {") for key, text in shown.items() if text} | dict(lowering.options.annotations)


def _spec(lowering: Lowering, entrypoint: str) -> dict[str, Any]:
    options, config = lowering.options, lowering.pipeline.config
    name, _, key = options.repository.partition("/")
    parameters = _arguments(lowering)
    first = lowering.templates[entrypoint]
    return _filled(
        {
            "entrypoint": entrypoint,
            "serviceAccountName": options.service_account,
            "artifactRepositoryRef": _filled({"configMap": name, "key": key}),
            "arguments": {"parameters": parameters} if parameters else {},
            "volumes": [volume for volume in _volumes(options) if _is_mounted(lowering, volume["name"])],
            "volumeClaimTemplates": [_workspace(config["workspace"])] if config.get("workspace") else [],
            "ttlStrategy": {argo: int(config[key]) for key, argo in _TTL.items() if config.get(key)},
            "activeDeadlineSeconds": int(config.get("activeDeadlineSeconds") or 0),
            "templates": [first, *(t for name, t in lowering.templates.items() if name != entrypoint)],
        }
    )


def _volumes(options: Options) -> list[dict[str, Any]]:
    """Volumes that templates may mount."""
    claim = {"name": STATE, "persistentVolumeClaim": {"claimName": options.state_claim}}
    return [{"name": VOLUME, "emptyDir": {}}, {"name": TEMPORARY, "emptyDir": {}}, claim]


def _is_mounted(lowering: Lowering, volume: str) -> bool:
    mounts = (m for t in lowering.templates.values() for m in t.get("container", {}).get("volumeMounts", ()))
    return any(mount["name"] == volume for mount in mounts)


def _arguments(lowering: Lowering) -> list[dict[str, Any]]:
    """What a person submits: the pipeline's parameters, and the URIs of its artifacts."""
    root = lowering.pipeline.root
    names = names_of(root).inputs
    found = [_argument(names[name], parameter) for name, parameter in root.inputs.items()]
    for name, artifact in root.input_artifacts.items():
        entry = {"name": names[name], "description": f"URI of a {artifact.schema.get('schemaTitle', 'system.Artifact')}."}
        found.append(entry | ({"value": "null"} if artifact.optional else {}))
    return found


def _argument(name: str, parameter: Parameter) -> dict[str, Any]:
    """An argument of the workflow: text as a person would type it, everything else as JSON."""
    if not parameter.has_default:
        return {"name": name, "value": "null"} if parameter.optional else {"name": name}
    default = parameter.default
    if parameter.type is ParameterType.STRING and isinstance(default, str):
        return {"name": name, "value": default}
    if isinstance(default, float) and not math.isfinite(default):
        return {"name": name, "value": str(default)}
    return {"name": name, "value": wire(default)}


def _workspace(raw: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"]}
    spec |= (raw.get("kubernetes") or {}).get("pvcSpecPatch") or {}
    resources = dict(spec.get("resources") or {})
    resources["requests"] = {"storage": raw["size"]} | (resources.get("requests") or {})
    return {"metadata": {"name": WORKSPACE_VOLUME}, "spec": spec | {"resources": resources}}
