"""Tests of the helper `check_references`: it reports every fault that a test puts into a correct object."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from argo_components import say, train
from argo_models import check_model
from argo_pipelines import lower
from argo_references import check_references, pods
from kfp import dsl

Raw = dict[str, Any]


@dsl.pipeline(name="flow")
def flow(text: str = "x") -> None:
    first = say(text=text)
    say(text=first.output)
    with dsl.If(first.output == "x"):
        say(text=text)
    with dsl.ParallelFor(["a"]) as item:
        say(text=item)
    train()


def correct_object() -> Raw:
    return copy.deepcopy(lower(flow).document)


def template(document: Raw, name: str) -> Raw:
    return next(each for each in document["spec"]["templates"] if each["name"] == name)


def task(document: Raw, name: str) -> Raw:
    return next(each for each in template(document, "flow")["dag"]["tasks"] if each["name"] == name)


def step(document: Raw) -> Raw:
    """Return the template of the first step."""
    return template(document, task(document, "say")["template"])


def drop(values: list[Any], number: int = 0) -> None:
    del values[number]


FAULTS: dict[str, tuple[Callable[[Raw], Any], str]] = {
    "a template that does not exist": (lambda d: task(d, "say").update(template="none"), "template 'none' does not exist"),
    "a template that is never used": (
        lambda d: d["spec"]["templates"].append({"name": "spare", "suspend": {}}),
        "template spare is never used",
    ),
    "a template that contains itself": (lambda d: task(d, "train").update(template="flow"), "template flow contains itself"),
    "a missing argument": (lambda d: drop(task(d, "say")["arguments"]["parameters"]), "arguments are missing: ['text']"),
    "an argument that is not declared": (
        lambda d: task(d, "train").update(arguments={"parameters": [{"name": "b", "value": "1"}]}),
        "arguments are not declared: ['b']",
    ),
    "a task that does not wait": (
        lambda d: task(d, "say-2").pop("dependencies"),
        "it reads an output of task 'say' without waiting for it",
    ),
    "a task that waits for a task which does not exist": (
        lambda d: task(d, "say-2").update(dependencies=["none"]),
        "waits for 'none', which does not exist",
    ),
    "tasks that wait for each other": (lambda d: task(d, "say").update(dependencies=["say-2"]), "tasks wait for each other"),
    "an output that does not exist": (
        lambda d: step(d)["outputs"]["parameters"][0].update(name="other"),
        "task 'say' has no output 'Output'",
    ),
    "an input that is not declared": (
        lambda d: step(d)["container"]["args"].append("{{=inputs.parameters.other}}"),
        "inputs.parameters.other is used but not declared",
    ),
    "a parameter of the workflow that is not declared": (
        lambda d: d["spec"].pop("arguments"),
        "workflow.parameters.text is used but not declared",
    ),
    "an item outside a loop": (
        lambda d: step(d)["container"]["args"].append("{{=item}}"),
        "item is used outside a loop",
    ),
    "a bracket that is not closed": (lambda d: step(d)["container"]["args"].append("{{=f((1)}}"), "not closed"),
    "a tag inside a tag": (lambda d: step(d)["container"]["args"].append("{{{=1}}"), "Argo does not know the tag"),
    "an unknown tag": (
        lambda d: step(d)["container"]["args"].append("{{unknown}}"),
        "Argo does not know the tag 'unknown'",
    ),
    "a volume that does not exist": (lambda d: d["spec"].pop("volumes"), "volume 'sluice-outputs' does not exist"),
    "two mounts at one path": (
        lambda d: step(d)["container"]["volumeMounts"].append(step(d)["container"]["volumeMounts"][0]),
        "two mounts at one path",
    ),
    "a task name with a digit in front": (lambda d: task(d, "say-2").update(name="2-say"), "not a name that Argo accepts"),
    "a DAG without tasks": (
        lambda d: d["spec"].update(templates=[{"name": "flow", "dag": {"tasks": []}}]),
        "the DAG has no tasks",
    ),
}


def test_the_check_accepts_a_correct_object() -> None:
    check_references(correct_object())
    assert pods(correct_object()) == 5


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_reports_each_fault(fault: str) -> None:
    insert_fault, message = FAULTS[fault]
    document = correct_object()
    insert_fault(document)
    with pytest.raises(AssertionError) as caught:
        check_references(document)
    assert message in str(caught.value)


def test_the_check_demands_a_default_for_an_output_of_a_task_that_may_be_skipped() -> None:
    document = correct_object()
    reader = task(document, "say-2")
    task(document, "say").update(when="{{=true}}")
    assert reader["dependencies"] == ["say"]
    with pytest.raises(AssertionError, match="which may be skipped, has no default"):
        check_references(document)


def test_the_check_reports_a_field_that_argo_does_not_know() -> None:
    document = correct_object()
    step(document)["container"]["colour"] = "red"
    with pytest.raises(AssertionError, match=r"container\.colour"):
        check_model(document)
