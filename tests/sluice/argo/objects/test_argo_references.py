"""The check of references finds what it is there to find: each fault put into a sound object is told."""

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


def sound() -> Raw:
    return copy.deepcopy(lower(flow).document)


def template(document: Raw, name: str) -> Raw:
    return next(each for each in document["spec"]["templates"] if each["name"] == name)


def task(document: Raw, name: str) -> Raw:
    return next(each for each in template(document, "flow")["dag"]["tasks"] if each["name"] == name)


def step(document: Raw) -> Raw:
    """The template of the first step."""
    return template(document, task(document, "say")["template"])


def drop(values: list[Any], number: int = 0) -> None:
    del values[number]


FAULTS: dict[str, tuple[Callable[[Raw], Any], str]] = {
    "a template that is not there": (lambda d: task(d, "say").update(template="none"), "template 'none' does not exist"),
    "a template that nobody uses": (
        lambda d: d["spec"]["templates"].append({"name": "spare", "suspend": {}}),
        "template spare is never used",
    ),
    "a template that holds itself": (lambda d: task(d, "train").update(template="flow"), "template flow holds itself"),
    "an argument that is missing": (lambda d: drop(task(d, "say")["arguments"]["parameters"]), "not given: ['text']"),
    "an argument too many": (
        lambda d: task(d, "train").update(arguments={"parameters": [{"name": "b", "value": "1"}]}),
        "given and not declared: ['b']",
    ),
    "a task that does not wait": (
        lambda d: task(d, "say-2").pop("dependencies"),
        "it reads of task 'say' and does not wait for it",
    ),
    "a task that waits for nobody": (
        lambda d: task(d, "say-2").update(dependencies=["none"]),
        "waits for 'none', which is not there",
    ),
    "tasks in a circle": (lambda d: task(d, "say").update(dependencies=["say-2"]), "tasks wait for each other"),
    "an output that is not there": (
        lambda d: step(d)["outputs"]["parameters"][0].update(name="other"),
        "task 'say' has no output 'Output'",
    ),
    "an input that is not declared": (
        lambda d: step(d)["container"]["args"].append("{{=inputs.parameters.other}}"),
        "inputs.parameters.other is used and not declared",
    ),
    "a parameter of the workflow that is not declared": (
        lambda d: d["spec"].pop("arguments"),
        "workflow.parameters.text is used and not declared",
    ),
    "an item outside a loop": (
        lambda d: step(d)["container"]["args"].append("{{=item}}"),
        "item is used outside a loop",
    ),
    "a bracket that is not closed": (lambda d: step(d)["container"]["args"].append("{{=f((1)}}"), "not closed"),
    "a tag in a tag": (lambda d: step(d)["container"]["args"].append("{{{=1}}"), "none of Argo's"),
    "a tag of nobody's": (
        lambda d: step(d)["container"]["args"].append("{{nobody}}"),
        "tag 'nobody' is none of Argo's",
    ),
    "a volume that is not there": (lambda d: d["spec"].pop("volumes"), "volume 'sluice-outputs' does not exist"),
    "two mounts at one place": (
        lambda d: step(d)["container"]["volumeMounts"].append(step(d)["container"]["volumeMounts"][0]),
        "two mounts at one place",
    ),
    "a task that begins with a digit": (lambda d: task(d, "say-2").update(name="2-say"), "not a name that Argo takes"),
    "a DAG without tasks": (
        lambda d: d["spec"].update(templates=[{"name": "flow", "dag": {"tasks": []}}]),
        "a DAG without a task",
    ),
}


def test_a_sound_object_is_taken() -> None:
    check_references(sound())
    assert pods(sound()) == 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told(fault: str) -> None:
    put, message = FAULTS[fault]
    document = sound()
    put(document)
    with pytest.raises(AssertionError) as caught:
        check_references(document)
    assert message in str(caught.value)


def test_an_output_that_may_be_missing_needs_a_default() -> None:
    document = sound()
    reader = task(document, "say-2")
    task(document, "say").update(when="{{=true}}")
    assert reader["dependencies"] == ["say"]
    with pytest.raises(AssertionError, match="which may be skipped, has no default"):
        check_references(document)


def test_a_field_that_argo_does_not_know_is_told() -> None:
    document = sound()
    step(document)["container"]["colour"] = "red"
    with pytest.raises(AssertionError, match=r"container\.colour"):
        check_model(document)
