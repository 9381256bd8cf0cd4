"""What is no pipeline is refused with a sentence that says what is wrong with it, never with a traceback of the reader."""

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
        ("", "no KFP pipeline"),
        ("---\n---\n", "no KFP pipeline"),
        ("just words", "no KFP pipeline"),
        ("[1, 2]", "no KFP pipeline"),
        ("a: [1", "is not YAML"),
        ("\x00\x01\x02", "is not YAML"),
        ("a: &x [*y]", "is not YAML"),
        ("when: 2024-99-99", "is not YAML"),
        ("? {a: 1}\n: b", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("components: {}\ndeploymentSpec: {}", "no KFP pipeline"),
        ("root: {}", "no KFP pipeline"),
        ("apiVersion: v1\nkind: ConfigMap", "no KFP pipeline"),
        ("pipelineSpec: text", "no KFP pipeline"),
        ("root: text\ndeploymentSpec: {}", "not valid KFP IR"),
        ("root: {dag: []}\ndeploymentSpec: {}", "not valid KFP IR"),
        ("root: {dag: {}}\ndeploymentSpec: [1]", "not valid KFP IR"),
        ("root: {dag: {}}\ndeploymentSpec: {}\n---\nplatforms:", "not valid KFP IR"),
    ],
)
def test_rubbish_is_refused(text: str, message: str) -> None:
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


def test_a_task_with_a_missing_component_is_named() -> None:
    assert "lost uses component 'comp-none', which does not exist" in refused({"lost": task("comp-none")})


def test_a_task_with_a_missing_producer_is_named() -> None:
    assert "user uses task 'nobody', which does not exist" in refused({"user": task(inputs=output_of("nobody"))})
    assert "user uses task 'nobody', which does not exist" in refused({"user": task(dependentTasks=["nobody"])})


def test_a_task_with_a_missing_output_is_named() -> None:
    tasks = {"maker": task(), "user": task(inputs=output_of("maker", "none"))}
    assert "user uses output 'none' of task 'maker', which does not exist" in refused(tasks)


def test_a_task_with_a_missing_input_is_named() -> None:
    tasks = {"user": task(inputs=given(text={"componentInputParameter": "none"}))}
    assert "user uses input 'none' of root, which does not exist" in refused(tasks)


def test_an_output_of_a_dag_that_no_task_makes_is_named() -> None:
    outputs = {"parameters": {"x": {"valueFromParameter": {"producerSubtask": "step", "outputParameterKey": "none"}}}}
    message = refused({}, dag={"tasks": {"step": task()}, "outputs": outputs})
    assert "root uses output 'none' of task 'step', which does not exist" in message


def test_a_circle_of_tasks_is_named() -> None:
    tasks = {"a": task(inputs=output_of("b")), "b": task(dependentTasks=["a"]), "c": task()}
    assert "tasks of root wait for each other: a, b" in refused(tasks)


def test_a_task_that_waits_for_itself_is_named() -> None:
    assert "wait for each other: a" in refused({"a": task(dependentTasks=["a"])})


def test_components_that_hold_each_other_are_named() -> None:
    components = {
        "comp-one": {"dag": {"tasks": {"two": task("comp-two")}}},
        "comp-two": {"dag": {"tasks": {"one": task("comp-one")}}},
    }
    message = refused({"one": task("comp-one")}, components=components)
    assert "comp-one" in message
    assert "comp-two" in message


def test_a_component_with_a_missing_executor_is_named() -> None:
    message = refused({"step": task()}, components={"comp-step": step(executorLabel="exec-none")})
    assert "comp-step uses executor 'exec-none', which does not exist" in message


def test_an_executor_of_no_known_kind_is_named() -> None:
    assert "the executor of comp-step is of no known kind" in refused({}, executor={"robot": {}})


def test_a_root_without_tasks_in_it_is_refused() -> None:
    raw = document({})
    raw["root"] = {"executorLabel": "exec-step"}
    with pytest.raises(DataError, match="root has no dag"):
        read(raw)


def test_a_type_that_does_not_exist_is_named() -> None:
    assert "COLOUR" in refused({}, inputDefinitions={"parameters": {"x": {"parameterType": "COLOUR"}}})


def test_a_loop_over_what_is_no_list_is_refused() -> None:
    loop = {"itemInput": "text", "items": {"raw": '{"a": 1}'}}
    assert "the loop's items are no list" in refused({"step": task(parameterIterator=loop)})


def test_a_loop_over_an_input_that_the_task_has_not_is_named() -> None:
    loop = {"itemInput": "text", "items": {"inputParameter": "none"}}
    assert "step uses input 'none' of the loop, which does not exist" in refused({"step": task(parameterIterator=loop)})


def test_a_loop_over_artifacts_that_the_task_has_not_is_named() -> None:
    loop = {"itemInput": "model", "items": {"inputArtifact": "none"}}
    assert "step uses input 'none' of the loop, which does not exist" in refused({"step": task(artifactIterator=loop)})


def test_a_duration_that_is_none_is_refused() -> None:
    assert "soon" in refused({"step": task(retryPolicy={"maxRetryCount": 1, "backoffDuration": "soon"})})


def test_a_selector_that_cannot_be_followed_is_refused() -> None:
    inputs = given(text={"runtimeValue": {"constant": "x"}, "parameterExpressionSelector": "upper(x)"})
    assert "upper(x)" in refused({"step": task(inputs=inputs)})


def test_a_source_of_no_known_kind_is_refused() -> None:
    refused({"step": task(inputs=given(text={"oracle": {}}))})
    refused({"step": task(inputs={"artifacts": {"model": {"oracle": MODEL}}})})


def test_a_document_of_ten_thousand_levels_is_refused() -> None:
    with pytest.raises(DataError, match=r"is not YAML|no KFP pipeline"):
        parse_ir("[" * 10_000 + "]" * 10_000)


def test_aliases_that_repeat_without_end_are_refused_at_once() -> None:
    bomb = ["z0: &z0 [a, a, a, a, a, a, a, a, a, a]"]
    bomb += [f"z{n}: &z{n} [{', '.join([f'*z{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(DataError, match="aliases repeat"):
        parse_ir("\n".join(bomb))
    loop = {"itemInput": "text", "items": {"raw": "\n".join(bomb)}}
    assert "aliases repeat" in refused({"step": task(parameterIterator=loop)})


def test_a_value_that_holds_itself_is_refused() -> None:
    with pytest.raises(DataError, match="holds itself"):
        parse_ir("a: &a [*a]")


def test_an_alias_as_kfp_writes_it_is_read() -> None:
    shared = {"parameterType": "LIST", "defaultValue": [1, 2]}
    raw = document({"step": task()}, inputDefinitions={"parameters": {"one": shared, "other": shared}})
    assert read(raw).root.inputs["one"].default == [1, 2]


def test_pipelines_nested_beyond_what_argo_runs_are_refused() -> None:
    components = {f"comp-{n}": {"dag": {"tasks": {"inner": task(f"comp-{n + 1}")}}} for n in range(1200)}
    message = refused({"outer": task("comp-0")}, components={**components, "comp-1200": step()})
    assert "nested more than 90 levels deep" in message
