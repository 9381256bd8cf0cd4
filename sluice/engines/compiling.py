"""Compile a pipeline for an engine in a cluster: to plain Argo Workflows, or to KFP's Kubernetes-native objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.argo.compilation import Options
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.objects.yaml_text import to_yaml
from sluice.errors import ServiceError
from sluice.ir.documents import find_platforms, find_spec, load_documents

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.ir.graph import Pipeline
    from sluice.ir.lint import Finding
    from sluice.project.projects import Project

KFP_API = "pipelines.kubeflow.org/v2beta1"


def compile_to_argo(pipeline: Pipeline, options: Options) -> str:
    """Compile a pipeline to an Argo object.

    Returns:
        The object as YAML.

    Raises:
        UnsupportedError: Argo cannot express the pipeline. The message names every construct that it cannot express.
    """
    document, refusals = lower_pipeline(pipeline, options)
    refusals.raise_if_any()
    return to_yaml(document)


def compile_to_crd(text: str, pipeline: Pipeline, *, name: str = "", namespace: str = "") -> str:
    """Compile a pipeline to KFP's Kubernetes-native API: a Pipeline, and a PipelineVersion that holds the IR.

    Args:
        text: The IR.
        pipeline: The same pipeline as a graph.
        name: Name of both objects. If it is empty, they get the name of the pipeline.
        namespace: Namespace of both objects. If it is empty, they get the namespace in which they are created.

    Returns:
        Both objects as YAML documents.
    """
    documents = load_documents(text)
    platforms = find_platforms(documents)
    named = name or pipeline.name
    metadata: dict[str, Any] = {"name": named} | ({"namespace": namespace} if namespace else {})
    shown = {"displayName": pipeline.display_name, "description": pipeline.description}
    about = {key: value for key, value in shown.items() if value}
    version: dict[str, Any] = {"pipelineName": named, **about, "pipelineSpec": find_spec(documents)}
    if platforms:
        version["platformSpec"] = {"platforms": platforms}
    objects = [
        {"apiVersion": KFP_API, "kind": "Pipeline", "metadata": metadata, "spec": about},
        {"apiVersion": KFP_API, "kind": "PipelineVersion", "metadata": metadata, "spec": version},
    ]
    return "---\n".join(to_yaml(each) for each in objects)


def find_refusals(pipeline: Pipeline, options: Options) -> list[Finding]:
    """Return every construct of a pipeline that Argo cannot express."""
    return lower_pipeline(pipeline, options)[1].found


def write_compiled(file: Path, text: str) -> None:
    """Write a compiled pipeline.

    Raises:
        ServiceError: The file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServiceError(f"{file} cannot be written: {error}", hint="Give another file with -o.") from error


def argo_options(project: Project | None, **given: Any) -> Options:  # noqa: ANN401 - fields of Options
    """Return the options of the compilation: [argo] in sluice.toml, overridden by the command line."""
    chosen = {key: value for key, value in given.items() if value}
    if project is None:
        return Options(**chosen)
    table = project.settings.argo
    settings: dict[str, Any] = {
        "namespace": table.namespace,
        "service_account": table.service_account,
        "service_accounts": tuple(table.service_accounts.items()),
        "signing_secrets": tuple(table.signing_secrets.items()),
        "step_tokens": table.step_tokens,
        "repository": table.artifact_repository,
        "store": Store(driver=table.artifact_driver, root=table.artifact_root),
        "cache": table.cache,
        "cache_ttl": table.cache_ttl,
        "security": table.security,
        "read_only": table.read_only,
        "labels": tuple(table.labels.items()),
        "annotations": tuple(table.annotations.items()),
    }
    return Options(**(settings | chosen))
