"""The objects that start a run, as plain dicts: names, labels, arguments and the Workflow. All functions are pure."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.argo_names import kubernetes_name, names_of
from sluice.argo.expressions.wire_json import to_wire
from sluice.argo.objects.workflows import API_VERSION
from sluice.errors import UsageError
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.ir.graph import Parameter, Pipeline

PROJECT_LABEL, PIPELINE_LABEL = "sluice.dev/project", "sluice.dev/pipeline"
"""Labels of everything that this engine creates, and of the runs that a template or a schedule starts."""

TEMPLATE_LABEL = "workflows.argoproj.io/workflow-template"
"""Argo's own label of a run that a WorkflowTemplate started. Argo's user interface filters by it."""

_KEY_DIGITS = 12


def template_name(project: str, pipeline: str) -> str:
    """Return the name of a pipeline's WorkflowTemplate. It contains the project, because a namespace may hold several."""
    return kubernetes_name(f"{project}-{pipeline}")


def schedule_name(project: str) -> str:
    """Return the name of a project's CronWorkflow. It depends on the project alone, so that a project has one schedule."""
    return kubernetes_name(f"{project}-schedule")


def labels_of(project: str, pipeline: str) -> dict[str, str]:
    """Return the labels of a pipeline's objects."""
    return {PROJECT_LABEL: project, PIPELINE_LABEL: kubernetes_name(pipeline)}


def run_name(template: str, key: str) -> str:
    """Return the name of the run that a key starts, so that the API server refuses a second one."""
    return f"{template}-{hashlib.sha256(key.encode()).hexdigest()[:_KEY_DIGITS]}"


def plan_run(template: str, labels: Mapping[str, str], parameters: list[dict[str, Any]], *, key: str) -> dict[str, Any]:
    """Return the Workflow that starts a run of a WorkflowTemplate.

    Args:
        template: Name of the template.
        labels: Labels of the run.
        parameters: Its arguments, as `plan_arguments` returns them.
        key: Idempotency key; empty for a run with a new name.
    """
    name = {"name": run_name(template, key)} if key else {"generateName": f"{template}-"}
    arguments = {"arguments": {"parameters": parameters}} if parameters else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {**name, "labels": {**labels, TEMPLATE_LABEL: template}},
        "spec": {"workflowTemplateRef": {"name": template}, **arguments},
    }


def plan_arguments(pipeline: Pipeline, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments of a run as Argo takes them.

    A text for a parameter of type STRING is passed as it is, and any other value as JSON in which ``{{`` is escaped.

    Args:
        pipeline: The pipeline.
        arguments: Values that `sluice.engines.arguments.check_arguments` accepts.

    Raises:
        UsageError: Argo would take a text for a template.
    """
    known, names = pipeline.root.inputs, names_of(pipeline.root).inputs
    return [{"name": names[name], "value": _argument(name, known[name], value)} for name, value in arguments.items()]


def _argument(name: str, parameter: Parameter, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if parameter.type is ParameterType.STRING:
        return _check_text(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return to_wire(list(value) if isinstance(value, tuple) else value)


def _check_text(name: str, text: str) -> str:
    """Return a text that Argo passes on as it is.

    Argo replaces templates in the arguments of a Workflow before any step reads them, and has no escape for a plain text. An
    unclosed ``{{`` even fails the run.

    Raises:
        UsageError: The text contains ``{{``.
    """
    place = text.find("{{")
    if place >= 0:
        raise UsageError(
            f"the value of {name} contains '{{{{' at character {place + 1}, which Argo takes for a template of its own",
            hint="Give a value without two opening braces. Parameters of other types than text may contain them.",
        )
    return text
