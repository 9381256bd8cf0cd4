"""Tests of constants, parameters, nested pipelines, placeholders, and values from containers without Python."""

from typing import Optional

import pytest
from argo_components import add, component, say
from argo_pipelines import arguments, launcher_input, lower, outputs, parse_with_tags
from kfp import dsl

from sluice.argo.expressions.wire_json import from_wire


@component
def everything(text: str, number: int, real: float, flag: bool, many: list, named: dict) -> str:
    return ""


def test_constants_of_every_type_become_wire_json() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        everything(text="{{x}} $(HOME) é\n", number=3, real=3.0, flag=True, many=[1, "a", [2]], named={"k": {"{{": "$"}})

    found = lower(flow)
    given = arguments(found.task("everything"))
    assert {name: from_wire(value) for name, value in given.items()} == {
        "text": "{{x}} $(HOME) é\n",
        "number": 3,
        "real": 3.0,
        "flag": True,
        "many": [1, "a", [2]],
        "named": {"k": {"{{": "$"}},
    }
    assert all("{{" not in value and "$" not in value and value.isascii() for value in given.values())
    assert given["real"] == "3.0"


def test_the_launcher_gets_the_declared_types() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        everything(text="", number=3, real=3.0, flag=True, many=[], named={})

    spec = launcher_input(lower(flow).inner("everything"))
    assert spec["types"] == {"text": "STRING", "number": "NUMBER_INTEGER", "real": "NUMBER_DOUBLE", "flag": "BOOLEAN"}
    assert spec["outputs"] == {"Output": "STRING"}
    assert spec["executor"]["inputs"]["parameterValues"]["text"] == "<=inputs.parameters.text>"


def test_the_default_of_a_python_component_is_not_an_argument() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        add(a=1)

    found = lower(flow)
    assert arguments(found.task("add")) == {"a": "1"}


def test_submitted_text_gets_the_declared_type_of_the_parameter() -> None:
    @dsl.pipeline(name="flow")
    def flow(
        text: str = "null",
        number: int = 3,
        flag: bool = False,
        many: list = [1],  # noqa: B006 - kfp's form of a default
        nothing: Optional[str] = None,  # noqa: UP045 - kfp reads this form
    ) -> None:
        everything(text=text, number=number, real=1.0, flag=flag, many=many, named={})
        say(text=nothing)

    found = lower(flow)
    assert {each["name"]: each.get("value") for each in found.spec["arguments"]["parameters"]} == {
        "text": "null",
        "number": "3",
        "flag": "false",
        "many": "[1]",
        "nothing": "null",
    }
    given = arguments(found.task("everything"))
    assert given["number"] == "{{=trim(workflow.parameters.number)}}"
    assert "lower(trim(workflow.parameters.flag)) in ['1', 't', 'true']" in given["flag"]
    assert "'null' ?" not in given["text"], "a text with a default is never null"
    assert "workflow.parameters.nothing == 'null' ? 'null'" in arguments(found.task("say"))["text"]


@dsl.pipeline(name="inner")
def inner(text: str, number: int = 5) -> str:
    said = say(text=text)
    add(a=number)
    return say(text=said.output).output


def test_a_nested_pipeline_is_a_template_with_its_inputs_and_outputs() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str = "x") -> str:
        first = inner(text=text)
        return inner(text=first.output, number=7).output

    found = lower(flow)
    template = found.inner("inner")
    assert [each["name"] for each in template["inputs"]["parameters"]] == ["number", "text"]
    assert outputs(template)["Output"]["expression"] == "tasks['say-2'].outputs.parameters.Output"
    assert arguments(found.task("inner"))["number"] == "5"
    assert arguments(found.task("inner-2"))["number"] == "7"
    assert arguments(found.task("inner-2"))["text"] == "{{=tasks['inner'].outputs.parameters.Output}}"
    assert outputs(found.entry)["Output"]["expression"] == "tasks['inner-2'].outputs.parameters.Output"
    assert found.task("inner")["template"] == found.task("inner-2")["template"] or found.inner("inner") != found.inner("inner-2")


@pytest.mark.parametrize(
    ("placeholder", "expression"),
    [
        (dsl.PIPELINE_JOB_NAME_PLACEHOLDER, "workflow.name"),
        (dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER, "workflow.name"),
        (dsl.PIPELINE_JOB_ID_PLACEHOLDER, "workflow.uid"),
        (dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER, "workflow.creationTimestamp.RFC3339"),
        (dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER, "workflow.creationTimestamp.RFC3339"),
        (dsl.PIPELINE_TASK_NAME_PLACEHOLDER, "'say'"),
        (dsl.PIPELINE_TASK_ID_PLACEHOLDER, "workflow.uid + '-say'"),
        (dsl.PIPELINE_ROOT_PLACEHOLDER, "'/kfp/store/'"),
    ],
)
def test_argo_fills_in_the_fields_of_the_run(placeholder: str, expression: str) -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        say(text=placeholder)
        say(text=f"before {placeholder} after")

    found = lower(flow)
    assert f"toJson({expression})" in arguments(found.task("say"))["text"]
    assert "'before ' + " in arguments(found.task("say-2"))["text"]


def test_the_schedule_time_is_the_scheduled_time_of_a_cron_workflow() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        say(text=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER)

    found = lower(flow, kind="CronWorkflow", schedules=("0 6 * * *",))
    assert "workflow.scheduledTime" in arguments(found.task("say"))["text"]


def test_an_f_string_concatenates_texts_and_values() -> None:
    @dsl.pipeline(name="flow")
    def flow(name: str = "n", n: int = 1) -> None:
        say(text=f"hello {name}, {n} {{{{x}}}} {say(text='a').output}")

    given = arguments(lower(flow).task("say-2"))["text"]
    assert "'hello ' + workflow.parameters.name + ', ' + (type(fromJSON(trim(workflow.parameters.n))) == 'string' ? " in given
    assert ": trim(workflow.parameters.n))" in given, "a number is concatenated as text"
    assert "\\u007b\\u007bx" in given


def test_argo_fills_in_placeholders_inside_lists_and_dicts() -> None:
    @dsl.pipeline(name="flow")
    def flow(name: str = "n") -> None:
        everything(text="", number=1, real=1.0, flag=True, many=[f"a{name}"], named={"k": {"b": f"v{name}"}})

    given = arguments(lower(flow).task("everything"))
    assert "{{{" not in given["named"]
    assert "'v' + workflow.parameters.name" in parse_with_tags(given["named"])["k"]["b"]
    assert parse_with_tags(given["many"])[0].count("workflow.parameters.name") == 1


@dsl.container_component
def write(
    number: dsl.OutputPath(int), flag: dsl.OutputPath(bool), text: dsl.OutputPath(str), many: dsl.OutputPath(list)
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="alpine", command=["sh"], args=[number, flag, text, many])


def test_the_reader_of_a_container_without_python_converts_its_output() -> None:
    @dsl.pipeline(name="flow")
    def flow() -> None:
        made = write()
        everything(
            text=made.outputs["text"],
            number=made.outputs["number"],
            real=1.0,
            flag=made.outputs["flag"],
            many=made.outputs["many"],
            named={},
        )

    given = arguments(lower(flow).task("everything"))
    assert given["number"] == "{{=trim(tasks['write'].outputs.parameters.number)}}"
    assert given["flag"].startswith("{{=(lower(trim(tasks['write'].outputs.parameters.flag)) in ")
    assert given["text"].startswith("{{=replace(replace(toJson(tasks['write'].outputs.parameters.text)")
    assert given["many"].startswith("{{=replace(replace(trim(tasks['write'].outputs.parameters.many)")


def test_braces_and_dollar_signs_in_source_code_are_escaped_for_the_launcher() -> None:
    @component
    def tricky() -> str:
        return "{{workflow.name}} $(HOME) $$"

    @dsl.pipeline(name="flow")
    def flow() -> None:
        tricky()

    container = lower(flow).inner("tricky")["container"]
    source = next(part for part in container["args"][1:] if "def tricky" in part)
    assert "⦃(workflow.name}} ⦃s(HOME) ⦃s⦃s" in source
    assert container["command"] == ["python3", "-c", "{{workflow.annotations.sluice-launcher}}"]
    assert container["args"].count("{$}") == 1
    assert "sluice-launcher" in lower(flow).document["metadata"]["annotations"]


def test_a_default_of_the_pipeline_that_argo_would_take_for_a_tag_is_refused() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str = "{{workflow.name}}") -> None:
        say(text=text)

    (refusal,) = lower(flow).refusals
    assert "'text' contains two opening braces" in refusal.reason
