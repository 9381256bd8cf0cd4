"""Tests of texts that are not valid IR: the error is a sentence that says what is wrong, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ir_documents import MODEL, document, given, read, step, task

from sluice.errors import DataError
from sluice.ir.reading import parse_ir, read_ir

if TYPE_CHECKING:
    from pathlib import Path


def output_of(name: str, key: str = "out") -> dict[str, Any]:
    return given(text={"taskOutputParameter": {"producerTask": name, "outputParameterKey": key}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a KFP pipeline"),
        ("---\n---\n", "is not a KFP pipeline"),
        ("only text", "is not a KFP pipeline"),
        ("[1, 2]", "is not a KFP pipeline"),
        ("a: [1", "is not YAML"),
        ("\x00\x01\x02", "is not YAML"),
        ("a: &x [*y]", "is not YAML"),
        ("when: 2024-99-99", "is not YAML"),
        ("? {a: 1}\n: b", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("components: {}\ndeploymentSpec: {}", "is not a KFP pipeline"),
        ("root: {}", "is not a KFP pipeline"),
        ("apiVersion: v1\nkind: ConfigMap", "is not a KFP pipeline"),
        ("pipelineSpec: text", "is not a KFP pipeline"),
        ("root: text\ndeploymentSpec: {}", "not valid KFP IR"),
        ("root: {dag: []}\ndeploymentSpec: {}", "not valid KFP IR"),
        ("root: {dag: {}}\ndeploymentSpec: [1]", "not valid KFP IR"),
        ("root: {dag: {}}\ndeploymentSpec: {}\n---\nplatforms:", "not valid KFP IR"),
    ],
)
def test_a_text_that_is_not_ir_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_ir(text, source="x.yaml")
    assert "x.yaml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe\x00P", b"\x89PNG\r\n\x1a\n\x00"])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "picture"
    file.write_bytes(content)
    with pytest.raises(DataError, match="picture cannot be read"):
        read_ir(file)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_ir(tmp_path)
    with pytest.raises(DataError, match=r"absent\.yaml cannot be read"):
        read_ir(tmp_path / "absent.yaml")


def refused(tasks: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(DataError, match="not valid KFP IR") as caught:
        read(document(tasks, **fields))
    return caught.value.message


def test_the_error_names_a_task_whose_component_does_not_exist() -> None:
    assert "lost uses component 'comp-none', which does not exist" in refused({"lost": task("comp-none")})


def test_the_error_names_a_task_that_uses_a_task_which_does_not_exist() -> None:
    assert "user uses task 'none', which does not exist" in refused({"user": task(inputs=output_of("none"))})
    assert "user uses task 'none', which does not exist" in refused({"user": task(dependentTasks=["none"])})


def test_the_error_names_a_task_that_uses_an_output_which_does_not_exist() -> None:
    tasks = {"maker": task(), "user": task(inputs=output_of("maker", "none"))}
    assert "user uses output 'none' of task 'maker', which does not exist" in refused(tasks)


def test_the_error_names_a_task_that_uses_an_input_which_does_not_exist() -> None:
    tasks = {"user": task(inputs=given(text={"componentInputParameter": "none"}))}
    assert "user uses input 'none' of root, which does not exist" in refused(tasks)


def test_the_error_names_an_output_of_a_dag_that_no_task_makes() -> None:
    outputs = {"parameters": {"x": {"valueFromParameter": {"producerSubtask": "step", "outputParameterKey": "none"}}}}
    message = refused({}, dag={"tasks": {"step": task()}, "outputs": outputs})
    assert "root uses output 'none' of task 'step', which does not exist" in message


def test_the_error_names_tasks_that_wait_for_each_other() -> None:
    tasks = {"a": task(inputs=output_of("b")), "b": task(dependentTasks=["a"]), "c": task()}
    assert "tasks of root wait for each other: a, b" in refused(tasks)


def test_the_error_names_a_task_that_waits_for_itself() -> None:
    assert "wait for each other: a" in refused({"a": task(dependentTasks=["a"])})


def test_the_error_names_components_that_contain_each_other() -> None:
    components = {
        "comp-one": {"dag": {"tasks": {"two": task("comp-two")}}},
        "comp-two": {"dag": {"tasks": {"one": task("comp-one")}}},
    }
    message = refused({"one": task("comp-one")}, components=components)
    assert "comp-one" in message
    assert "comp-two" in message


def test_the_error_names_a_component_whose_executor_does_not_exist() -> None:
    message = refused({"step": task()}, components={"comp-step": step(executorLabel="exec-none")})
    assert "comp-step uses executor 'exec-none', which does not exist" in message


def test_the_error_names_a_component_with_an_unknown_executor() -> None:
    assert "the executor of comp-step is of an unknown kind" in refused({}, executor={"robot": {}})


def test_a_root_without_a_dag_is_refused() -> None:
    raw = document({})
    raw["root"] = {"executorLabel": "exec-step"}
    with pytest.raises(DataError, match="root has no dag"):
        read(raw)


def test_the_error_names_a_type_that_does_not_exist() -> None:
    assert "COLOUR" in refused({}, inputDefinitions={"parameters": {"x": {"parameterType": "COLOUR"}}})


def test_a_loop_over_a_value_that_is_not_a_list_is_refused() -> None:
    loop = {"itemInput": "text", "items": {"raw": '{"a": 1}'}}
    assert "the items of the loop are not a list" in refused({"step": task(parameterIterator=loop)})


def test_the_error_names_a_loop_over_an_input_that_does_not_exist() -> None:
    loop = {"itemInput": "text", "items": {"inputParameter": "none"}}
    assert "step uses input 'none' of the loop, which does not exist" in refused({"step": task(parameterIterator=loop)})


def test_the_error_names_a_loop_over_artifacts_that_do_not_exist() -> None:
    loop = {"itemInput": "model", "items": {"inputArtifact": "none"}}
    assert "step uses input 'none' of the loop, which does not exist" in refused({"step": task(artifactIterator=loop)})


def test_an_invalid_duration_is_refused() -> None:
    assert "soon" in refused({"step": task(retryPolicy={"maxRetryCount": 1, "backoffDuration": "soon"})})


def test_an_unsupported_selector_is_refused() -> None:
    inputs = given(text={"runtimeValue": {"constant": "x"}, "parameterExpressionSelector": "upper(x)"})
    assert "upper(x)" in refused({"step": task(inputs=inputs)})


def test_a_source_of_an_unknown_kind_is_refused() -> None:
    refused({"step": task(inputs=given(text={"oracle": {}}))})
    refused({"step": task(inputs={"artifacts": {"model": {"oracle": MODEL}}})})


def test_a_document_with_ten_thousand_levels_is_refused() -> None:
    with pytest.raises(DataError, match=r"is not YAML|is not a KFP pipeline"):
        parse_ir("[" * 10_000 + "]" * 10_000)


def test_aliases_that_repeat_too_many_values_are_refused() -> None:
    bomb = ["z0: &z0 [a, a, a, a, a, a, a, a, a, a]"]
    bomb += [f"z{n}: &z{n} [{', '.join([f'*z{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(DataError, match="aliases expand to"):
        parse_ir("\n".join(bomb))
    loop = {"itemInput": "text", "items": {"raw": "\n".join(bomb)}}
    assert "aliases expand to" in refused({"step": task(parameterIterator=loop)})


def test_a_value_that_contains_itself_is_refused() -> None:
    with pytest.raises(DataError, match="contains itself"):
        parse_ir("a: &a [*a]")


def test_an_alias_that_kfp_writes_is_read() -> None:
    shared = {"parameterType": "LIST", "defaultValue": [1, 2]}
    raw = document({"step": task()}, inputDefinitions={"parameters": {"one": shared, "other": shared}})
    assert read(raw).root.inputs["one"].default == [1, 2]


def test_pipelines_that_are_nested_too_deeply_for_argo_are_refused() -> None:
    components = {f"comp-{n}": {"dag": {"tasks": {"inner": task(f"comp-{n + 1}")}}} for n in range(1200)}
    message = refused({"outer": task("comp-0")}, components={**components, "comp-1200": step()})
    assert "nested more than 90 levels deep" in message
