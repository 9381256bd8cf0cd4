"""The whole Argo object: a Workflow, a WorkflowTemplate or a CronWorkflow."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from sluice.argo.compilation import Compilation, Options
from sluice.argo.dags.artifact_origins import KnownInputs
from sluice.argo.dags.dag_templates import lower_dag
from sluice.argo.expressions.argo_names import names_of
from sluice.argo.expressions.artifact_store import TEMPORARY, VOLUME
from sluice.argo.expressions.wire_json import launcher_text, to_wire
from sluice.argo.pod_settings.step_pods import WORKSPACE_VOLUME
from sluice.argo.refusals import Refusals
from sluice.argo.steps.container_templates import LAUNCHER_ANNOTATION
from sluice.ir.graph import ParameterType
from sluice.ir.lint import find_unread_fields

if TYPE_CHECKING:
    from sluice.ir.graph import Parameter, Pipeline

EXECUTOR_VOLUME = "exec-sa-token"
"""The volume with the token of Argo's own containers (Argo Workflows 3 and 4)."""

API_VERSION = "argoproj.io/v1alpha1"
_TTL = {
    "resourceTtlOnCompletion": "secondsAfterCompletion",
    "resourceTtlOnSuccess": "secondsAfterSuccess",
    "resourceTtlOnFailure": "secondsAfterFailure",
}


def lower_pipeline(pipeline: Pipeline, options: Options) -> tuple[dict[str, Any], Refusals]:
    """Lower a pipeline.

    Returns:
        The object as plain dicts, and the refusals. If anything was refused, the object must not be used.
    """
    refusals = Refusals("argo")
    compilation = Compilation(pipeline, options, refusals)
    refusals.found += find_unread_fields(pipeline, matters=True)
    entrypoint = lower_dag(compilation, pipeline.root, known=KnownInputs())
    return _object(compilation, entrypoint), refusals


def _object(compilation: Compilation, entrypoint: str) -> dict[str, Any]:
    options = compilation.options
    spec = _spec(compilation, entrypoint)
    annotations = _annotations(compilation)
    carried = annotations | ({LAUNCHER_ANNOTATION: launcher_text()} if compilation.uses_launcher else {})
    is_run = options.kind == "Workflow"
    metadata = _without_empty(
        {
            "generateName" if is_run else "name": f"{compilation.name}-" if is_run else compilation.name,
            "namespace": options.namespace,
            "labels": dict(options.labels),
            "annotations": carried if is_run else annotations,
        }
    )
    found = {"apiVersion": API_VERSION, "kind": options.kind, "metadata": metadata}
    if is_run:
        return found | {"spec": spec}
    # The labels and annotations of the runs that a template or a schedule starts.
    of_runs = _without_empty({"workflowMetadata": _without_empty({"labels": dict(options.labels), "annotations": carried})})
    if options.kind == "WorkflowTemplate":
        return found | {"spec": of_runs | spec}
    schedule = {"schedules": list(options.schedules), "timezone": options.timezone, "concurrencyPolicy": options.concurrency}
    return found | {"spec": _without_empty(schedule) | of_runs | {"workflowSpec": spec}}


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not empty."""
    return {key: value for key, value in fields.items() if value}


def _annotations(compilation: Compilation) -> dict[str, str]:
    """Return the user's annotations, and the title and the description that Argo's user interface shows."""
    pipeline = compilation.pipeline
    shown = {"workflows.argoproj.io/title": pipeline.display_name, "workflows.argoproj.io/description": pipeline.description}
    return {key: text.replace("{{", "{ {") for key, text in shown.items() if text} | dict(compilation.options.annotations)


def _spec(compilation: Compilation, entrypoint: str) -> dict[str, Any]:
    options, config = compilation.options, compilation.pipeline.config
    name, _, key = options.repository.partition("/")
    parameters = _arguments(compilation)
    first = compilation.templates[entrypoint]
    begun = _without_empty({"entrypoint": entrypoint, "serviceAccountName": options.service_account})
    return (
        begun
        | ({} if options.step_tokens else _keep_tokens_from_steps(options))
        | _without_empty(
            {
                "artifactRepositoryRef": _without_empty({"configMap": name, "key": key}),
                "arguments": {"parameters": parameters} if parameters else {},
                "volumes": [{"name": name, "emptyDir": {}} for name in (VOLUME, TEMPORARY) if _is_mounted(compilation, name)],
                "volumeClaimTemplates": [_workspace(config["workspace"])] if config.get("workspace") else [],
                "ttlStrategy": {argo: int(config[key]) for key, argo in _TTL.items() if config.get(key)},
                "activeDeadlineSeconds": int(config.get("activeDeadlineSeconds") or 0),
                "templates": [first, *(t for name, t in compilation.templates.items() if name != entrypoint)],
            }
        )
    )


def _keep_tokens_from_steps(options: Options) -> dict[str, Any]:
    """Return the fields with which only Argo's own containers have a token, and each pod's one is bound to this pod.

    Argo would mount a Secret with a token that never expires in its containers. A step could make them pass it on, because they
    follow a link that it leaves as an output. The patch puts a token in the Secret's place that is valid only while the pod
    exists. With it, the API server knows which pod reports a result.
    """
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    bound = {"name": EXECUTOR_VOLUME, "secret": None, "projected": {"sources": sources}}
    return {
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": options.service_account or "default"},
        "podSpecPatch": json.dumps({"volumes": [bound]}),
    }


def _is_mounted(compilation: Compilation, volume: str) -> bool:
    mounts = (m for t in compilation.templates.values() for m in t.get("container", {}).get("volumeMounts", ()))
    return any(mount["name"] == volume for mount in mounts)


def _arguments(compilation: Compilation) -> list[dict[str, Any]]:
    """Return the arguments that a person submits: the pipeline's parameters, and the URIs of its artifacts."""
    root = compilation.pipeline.root
    names = names_of(root).inputs
    found = [_argument(names[name], parameter) for name, parameter in root.inputs.items()]
    for name, artifact in root.input_artifacts.items():
        entry = {"name": names[name], "description": f"URI of a {artifact.schema.get('schemaTitle', 'system.Artifact')}."}
        found.append(entry | ({"value": "null"} if artifact.optional else {}))
    return found


def _argument(name: str, parameter: Parameter) -> dict[str, Any]:
    """Return an argument of the workflow. A default of type STRING is plain text, and any other default is JSON."""
    if not parameter.has_default:
        return {"name": name, "value": "null"} if parameter.optional else {"name": name}
    default = parameter.default
    if parameter.type is ParameterType.STRING and isinstance(default, str):
        return {"name": name, "value": default}
    if isinstance(default, float) and not math.isfinite(default):
        return {"name": name, "value": str(default)}
    return {"name": name, "value": to_wire(default)}


def _workspace(raw: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"]}
    spec |= (raw.get("kubernetes") or {}).get("pvcSpecPatch") or {}
    resources = dict(spec.get("resources") or {})
    resources["requests"] = {"storage": raw["size"]} | (resources.get("requests") or {})
    return {"metadata": {"name": WORKSPACE_VOLUME}, "spec": spec | {"resources": resources}}
