"""Tests of reading KFP's IR: every construct becomes the right part of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ir_documents import MODEL, TEXT, document, given, read, read_task, step, task

from sluice.ir.graph import (
    Artifact,
    Binding,
    Constant,
    Container,
    Dag,
    FromFinalStatus,
    FromInput,
    FromTask,
    Importer,
    Iterator,
    Parameter,
    ParameterType,
    Retry,
    Unknown,
)
from sluice.ir.lint import find_rounded_numbers
from sluice.ir.reading import in_declared_type, is_exact, parse_ir, read_ir, read_selector

if TYPE_CHECKING:
    from pathlib import Path


def parameter(**raw: Any) -> Parameter:
    return read(document({}, inputDefinitions={"parameters": {"x": raw}})).root.inputs["x"]


def input_artifact(**raw: Any) -> Artifact:
    return read(document({}, inputDefinitions={"artifacts": {"x": raw}})).root.input_artifacts["x"]


@pytest.mark.parametrize("kind", [str(kind) for kind in ParameterType])
def test_every_parameter_type_is_read(kind: str) -> None:
    assert parameter(parameterType=kind) == Parameter(ParameterType(kind))


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        ("NUMBER_INTEGER", 3.0, 3),
        ("NUMBER_INTEGER", 3.5, 3.5),
        ("NUMBER_DOUBLE", 3, 3.0),
        ("STRING", 3.0, 3),
        ("STRING", "3.0", "3.0"),
        ("STRING", "", ""),
        ("BOOLEAN", False, False),
        ("LIST", [], []),
        ("LIST", [1.0, "a", 1.5, True, [2.0]], [1, "a", 1.5, True, [2]]),
        ("STRUCT", {"a": None, "b": 2.0}, {"a": None, "b": 2}),
    ],
)
def test_a_default_has_its_declared_type(kind: str, default: Any, expected: Any) -> None:
    found = parameter(parameterType=kind, defaultValue=default)
    assert (repr(found.default), found.has_default) == (repr(expected), True)


def test_a_default_that_is_null_is_no_default() -> None:
    assert parameter(parameterType="STRING", defaultValue=None, isOptional=True) == Parameter(ParameterType.STRING, optional=True)


@pytest.mark.parametrize(
    ("old", "new"), [("INT", ParameterType.INTEGER), ("DOUBLE", ParameterType.DOUBLE), ("STRING", ParameterType.STRING)]
)
def test_the_old_form_of_a_type_is_read(old: str, new: ParameterType) -> None:
    assert parameter(type=old).type is new


@pytest.mark.parametrize(
    ("value", "expected"), [({"intValue": 4}, 4), ({"doubleValue": 0.5}, 0.5), ({"stringValue": "a"}, "a"), ({}, None)]
)
def test_the_old_form_of_a_constant_is_read(value: dict[str, Any], expected: Any) -> None:
    found = read_task(inputs=given(text={"runtimeValue": {"constantValue": value}}))
    assert found.parameters["text"] == Binding(Constant(expected))


def test_an_artifact_keeps_its_type_and_whether_it_is_a_list_or_optional() -> None:
    assert input_artifact(**MODEL) == Artifact({"schemaTitle": "system.Model", "schemaVersion": "0.0.1"})
    many = input_artifact(**MODEL, isArtifactList=True, isOptional=True)
    assert (many.is_list, many.optional) == (True, True)
    outputs = {"artifacts": {"made": {**MODEL, "metadata": {"a": 1}}}}
    made = read(document({}, components={"comp-step": step(outputDefinitions=outputs)})).components["comp-step"]
    assert made.output_artifacts["made"].metadata == {"a": 1}


def test_a_custom_schema_is_kept() -> None:
    assert input_artifact(artifactType={"instanceSchema": "title: t"}).schema == {"instanceSchema": "title: t"}
    assert input_artifact(artifactType={"schemaUri": "gs://x"}).schema == {"schemaUri": "gs://x"}


def test_a_container_keeps_its_command_environment_and_resources_in_order() -> None:
    raw = {
        "image": "i:1",
        "command": ["sh", "-c"],
        "args": ["echo", 3],
        "env": [{"name": "B", "value": "2"}, {"name": "A", "value": 1}, {"name": "EMPTY"}],
        "resources": {"resourceCpuLimit": "2"},
        "lifecycle": {"preCacheCheck": {}},
    }
    found = read(document({}, executor={"container": raw})).components["comp-step"].body
    assert found == Container(
        "i:1", ("sh", "-c"), ("echo", "3"), (("B", "2"), ("A", "1"), ("EMPTY", "")), {"resourceCpuLimit": "2"}, has_hook=True
    )


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ({"constant": "gs://b/k"}, Constant("gs://b/k")),
        ({"constantValue": {"stringValue": "gs://b/k"}}, Constant("gs://b/k")),
        ({"runtimeParameter": "uri"}, FromInput("uri")),
    ],
)
def test_an_importer_is_read(uri: dict[str, Any], expected: Constant | FromInput) -> None:
    raw = {"artifactUri": uri, "typeSchema": MODEL["artifactType"], "metadata": {"k": "v"}, "downloadToWorkspace": True}
    found = read(document({}, executor={"importer": raw})).components["comp-step"].body
    assert found == Importer(expected, MODEL["artifactType"], {"k": "v"}, to_workspace=True)


@pytest.mark.parametrize("kind", ["resolver", "customJob"])
def test_executors_that_only_vertex_ai_runs_are_read_by_their_names(kind: str) -> None:
    assert read(document({}, executor={kind: {}})).components["comp-step"].body == Unknown(kind)


def test_a_loop_over_constants_is_read_from_its_text() -> None:
    found = read_task(
        parameterIterator={"itemInput": "text", "items": {"raw": '[1, 2.5, {"a": "b"}, "2024-01-01"]'}},
        iteratorPolicy={"parallelismLimit": 2},
    )
    assert found.iterator == Iterator("text", Constant([1, 2.5, {"a": "b"}, "2024-01-01"]), parallelism=2)


def test_a_loop_over_an_input_is_read() -> None:
    found = read_task(
        inputs=given(items={"runtimeValue": {"constant": "[]"}}),
        parameterIterator={"itemInput": "text", "items": {"inputParameter": "items"}},
    )
    assert found.iterator == Iterator("text", FromInput("items"))


def test_a_loop_over_artifacts_is_read() -> None:
    root = {"inputDefinitions": {"artifacts": {"models": {**MODEL, "isArtifactList": True}}}}
    looped = task(
        inputs={"artifacts": {"models": {"componentInputArtifact": "models"}}},
        artifactIterator={"itemInput": "model", "items": {"inputArtifact": "models"}},
    )
    found = read(document({"step": looped}, **root)).root.body
    assert isinstance(found, Dag)
    assert found.tasks["step"].iterator == Iterator("model", FromInput("models"), over_artifacts=True)


def test_a_condition_and_a_trigger_are_read() -> None:
    found = read_task(triggerPolicy={"condition": "1 == 1", "strategy": "ALL_UPSTREAM_TASKS_COMPLETED"})
    assert (found.condition, found.when_all_ended) == ("1 == 1", True)
    plain = read_task(triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_SUCCEEDED"})
    assert (plain.condition, plain.when_all_ended) == ("", False)


def test_retry_durations_are_seconds() -> None:
    raw = {"maxRetryCount": 3, "backoffDuration": "1.5s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s"}
    assert read_task(retryPolicy=raw).retry == Retry(3, 1.5, 2.0, 3600.0)
    assert read_task(retryPolicy={"maxRetryCount": 1}).retry == Retry(1)
    assert read_task().retry is None


def test_caching_is_off_by_default() -> None:
    assert read_task().cached is False
    assert read_task(cachingOptions={}).cached is False
    found = read_task(cachingOptions={"enableCache": True, "cacheKey": "k"})
    assert (found.cached, found.cache_key) == (True, "k")


def test_every_source_of_a_value_is_read() -> None:
    second = task(
        dependentTasks=["first"],
        inputs=given(
            text={"taskOutputParameter": {"producerTask": "first", "outputParameterKey": "out"}},
            outer={"componentInputParameter": "p"},
            runtime={"runtimeValue": {"runtimeParameter": "p"}},
            status={"taskFinalStatus": {"producerTask": "first"}},
        )
        | {"artifacts": {"model": {"taskOutputArtifact": {"producerTask": "first", "outputArtifactKey": "made"}}}},
    )
    found = read(document({"first": task(), "second": second}, inputDefinitions={"parameters": {"p": TEXT}})).root.body
    assert isinstance(found, Dag)
    assert {name: binding.source for name, binding in found.tasks["second"].parameters.items()} == {
        "text": FromTask("first", "out"),
        "outer": FromInput("p"),
        "runtime": FromInput("p"),
        "status": FromFinalStatus("first"),
    }
    assert found.tasks["second"].artifacts == {"model": FromTask("first", "made")}
    assert found.tasks["second"].after == ("first",)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        ('parseJson(string_value)["a"]', ("a",)),
        ("parseJson(string_value)['a'][\"b c\"][0]", ("a", "b c", 0)),
        ('parseJson(string_value)["]"]', ("]",)),
    ],
)
def test_a_selector_is_read(text: str, keys: tuple[str | int, ...]) -> None:
    assert read_selector(text) == keys


def test_a_selector_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="parseJson"):
        read_selector("string_value[0]")


def test_an_output_of_a_dag_names_every_task_output_that_may_give_it() -> None:
    dag = {
        "tasks": {"a": task(), "b": task()},
        "outputs": {
            "parameters": {
                "one": {"valueFromParameter": {"producerSubtask": "a", "outputParameterKey": "out"}},
                "either": {
                    "valueFromOneof": {
                        "parameterSelectors": [
                            {"producerSubtask": "a", "outputParameterKey": "out"},
                            {"producerSubtask": "b", "outputParameterKey": "out"},
                        ]
                    }
                },
            },
            "artifacts": {"made": {"artifactSelectors": [{"producerSubtask": "b", "outputArtifactKey": "made"}]}},
        },
    }
    found = read(document({}, dag=dag)).root.body
    assert isinstance(found, Dag)
    assert found.parameters == {"one": (FromTask("a", "out"),), "either": (FromTask("a", "out"), FromTask("b", "out"))}
    assert found.artifacts == {"made": (FromTask("b", "made"),)}


def test_task_config_passthroughs_say_whether_the_task_keeps_the_field() -> None:
    raw = step(taskConfigPassthroughs=[{"field": "RESOURCES", "applyToTask": True}, {"field": "ENV"}])
    assert read(document({}, components={"comp-step": raw})).components["comp-step"].passthroughs == {
        "RESOURCES": True,
        "ENV": False,
    }


def test_platform_settings_are_read_from_a_document_at_any_position() -> None:
    kubernetes = {
        "deploymentSpec": {"executors": {"exec-step": {"imagePullPolicy": "Always"}}},
        "pipelineConfig": {"resourceTtlOnCompletion": 60},
    }
    platform = {"platforms": {"kubernetes": kubernetes}}
    for documents in ([document({}), platform], [platform, document({})], [None, document({}), None, platform]):
        found = read(*documents)
        assert found.components["comp-step"].platform == {"imagePullPolicy": "Always"}
        assert found.config == {"resourceTtlOnCompletion": 60}


def test_a_pipeline_job_is_read_as_the_pipeline_in_it() -> None:
    assert read({"displayName": "run", "pipelineSpec": document({"step": task()})}).name == "small"


def test_the_pipeline_keeps_its_name_description_and_root() -> None:
    raw = document({}) | {
        "pipelineInfo": {"name": "n", "displayName": "The n", "description": "what it does"},
        "defaultPipelineRoot": "gs://b/root",
    }
    found = read(raw)
    assert (found.name, found.display_name, found.description, found.default_root) == (
        "n",
        "The n",
        "what it does",
        "gs://b/root",
    )


def test_a_file_is_read_like_its_text(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(document({"step": task()})), encoding="utf-8")
    assert read_ir(file) == parse_ir(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("value", "kind", "exact"),
    [
        (2**53 - 1, ParameterType.INTEGER, True),
        (2**53, ParameterType.INTEGER, False),
        (2**53, None, False),
        (1e300, ParameterType.DOUBLE, True),
        ({"a": [2.0**60]}, ParameterType.STRUCT, False),
        (float("inf"), None, True),
        (True, ParameterType.BOOLEAN, True),
        ("x", ParameterType.STRING, True),
    ],
)
def test_numbers_that_kfp_may_have_rounded_are_found(value: Any, kind: ParameterType | None, exact: bool) -> None:
    assert is_exact(value, kind) is exact


def test_a_value_that_is_declared_as_a_double_is_never_reported_as_rounded() -> None:
    inputs = {"parameters": {"x": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 1e18}}}
    bound = given(x={"runtimeValue": {"constant": 1e300}})
    found = document({"step": task(inputs=bound)}, components={"comp-step": step(inputDefinitions=inputs)})
    assert find_rounded_numbers(read(found)) == []


def test_a_constant_gets_the_declared_type() -> None:
    assert repr(in_declared_type(5.0, ParameterType.INTEGER)) == "5"
    assert repr(in_declared_type(5, ParameterType.DOUBLE)) == "5.0"
    assert repr(in_declared_type(True, ParameterType.INTEGER)) == "True"
    assert repr(in_declared_type(5.5, ParameterType.STRING)) == "5.5"
