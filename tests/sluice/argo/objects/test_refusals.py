"""Tests of refusals: each one names the task, the field, the reason and what to do instead."""

from typing import Any

import pytest
from argo_components import say
from argo_pipelines import lower
from kfp import dsl

from sluice.argo.compilation import Options
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.refusals import Refusals
from sluice.errors import UnsupportedError
from sluice.ir.reading import parse_ir

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def score(model: dsl.Input[dsl.Model]) -> str:
    return "x"


@component
def train(model: dsl.Output[dsl.Model]) -> None:
    pass


def refusal(flow: Any, **options: Any) -> tuple[str, str, str]:
    (found,) = lower(flow, **options).refusals
    assert found.hint
    assert "See docs" not in found.hint
    return found.task, found.field, found.reason


def imported(uri: str, **given: Any) -> Any:
    @dsl.pipeline(name="flow", pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")))
    def flow() -> None:
        score(model=dsl.importer(artifact_uri=uri, artifact_class=dsl.Model, **given).output)

    return flow


def test_an_import_into_the_workspace_is_refused() -> None:
    task, field, reason = refusal(imported("s3://b/k", download_to_workspace=True))
    assert (task, field) == ("importer", "importer.downloadToWorkspace")
    assert "no pod" in reason


def test_an_importer_with_a_uri_that_argo_cannot_fetch_is_refused() -> None:
    _, field, reason = refusal(imported("pvc://x/y"))
    assert field == "importer.artifactUri"
    assert "Argo cannot fetch the URI 'pvc://x/y'" in reason


def test_an_importer_from_another_bucket_is_refused() -> None:
    assert "only from its own repository" in refusal(imported("s3://b/k"), store=Store("s3", "s3://other/p"))[2]


def test_an_importer_whose_uri_only_the_run_knows_is_refused() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        found = dsl.importer(artifact_uri=say(text="s3://b/k").output, artifact_class=dsl.Model)
        score(model=found.output)

    assert "only the run knows the URI" in refusal(flow)[2]


def test_an_artifact_that_may_come_from_two_kinds_of_store_is_refused() -> None:
    @dsl.pipeline(name="flow")
    def flow(which: str) -> None:
        with dsl.If(which == "a"):
            made = train()
        with dsl.Else():
            found = dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Model)
        score(model=dsl.OneOf(made.outputs["model"], found.output))

    assert refusal(flow)[:2] == ("score", "input model")


def test_a_default_with_two_opening_braces_is_refused_if_a_step_reads_it() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str = "{{foo}}") -> None:
        say(text=text)

    assert refusal(flow)[:2] == ("say", "input text")


def ir(task: str, importer: str = "artifactUri: {constant: 's3://b/k'}") -> Any:
    return parse_ir(f"""
components:
  comp-a: {{executorLabel: exec-a, inputDefinitions: {{parameters: {{x: {{parameterType: STRING}}}}}}}}
  comp-i:
    executorLabel: exec-i
    outputDefinitions: {{artifacts: {{artifact: {{artifactType: {{schemaTitle: system.Model}}}}}}}}
deploymentSpec:
  executors:
    exec-a: {{container: {{image: x}}}}
    exec-i: {{importer: {{{importer}, typeSchema: {{schemaTitle: system.Model}}}}}}
pipelineInfo: {{name: p}}
root:
  outputDefinitions: {{artifacts: {{out: {{artifactType: {{schemaTitle: system.Model}}}}}}}}
  dag:
    outputs: {{artifacts: {{out: {{artifactSelectors: [{{producerSubtask: i, outputArtifactKey: artifact}}]}}}}}}
    tasks:
      i: {{componentRef: {{name: comp-i}}}}
      a: {{componentRef: {{name: comp-a}}, inputs: {{parameters: {{x: {{runtimeValue: {{constant: q}}}}}}}}, {task}}}
""")


@pytest.mark.parametrize(
    ("task", "importer", "expected"),
    [
        ("triggerPolicy: {condition: \"upper(inputs.parameter_values['x']) == 'Q'\"}", "", ("a", "triggerPolicy.condition")),
        ("", "artifactUri: {constant: 's3://b/{{$.outputs.artifacts[''m''].uri}}'}", ("pipeline", "inputs")),
    ],
)
def test_the_refusal_of_a_condition_or_an_output_names_its_field(task: str, importer: str, expected: tuple[str, str]) -> None:
    pipeline = ir(task or "dependentTasks: []", importer or "artifactUri: {constant: 's3://b/k'}")
    (found,) = lower_pipeline(pipeline, Options())[1].found
    assert (found.task, found.field) == expected
    assert found.hint


def test_an_error_without_a_field_gets_the_field_of_its_caller() -> None:
    refusals = Refusals("argo")
    refusals.add_error("step", "inputs", ValueError("why"))
    with pytest.raises(UnsupportedError, match="step, inputs: why") as caught:
        refusals.raise_if_any()
    assert "docs/compiler.md" in caught.value.hint
