"""Tests of the command and the arguments of containers without Python: their texts and their number."""

from typing import Optional

from argo_components import component, say
from argo_pipelines import arguments, lower, outputs, parse_with_tags
from kfp import dsl


@dsl.container_component
def shell(
    text: str, number: int, maybe: str = "d", model: dsl.Input[dsl.Model] = None, out: dsl.OutputPath(str) = ""
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", "echo $0 {{x}} > $1"],
        args=[
            dsl.ConcatPlaceholder(["--text=", text, dsl.IfPresentPlaceholder(input_name="maybe", then=maybe, else_="none")]),
            dsl.IfPresentPlaceholder(input_name="model", then=["--model", model.path], else_=["--no-model"]),
            number,
            out,
        ],
    )


def test_argo_replaces_every_tag_in_the_arguments_of_a_container() -> None:
    @dsl.pipeline(name="flow")
    def flow(text: str = "x") -> None:
        shell(text=text, number=3)

    container = lower(flow).inner("shell")["container"]
    assert container["command"] == ["sh", "-c", "echo $0 {$(SLUICE_BRACE)x}} > $1"]
    assert {"name": "SLUICE_BRACE", "value": "{"} in container["env"]
    assert container["args"][0].startswith("{{=replace('--text=' + replace(")
    assert "--no-model" in container["args"]
    assert (
        container["args"][-1]
        == "{{=replace(replace('/kfp/outputs/out', '$', '$$'), '\\u007b\\u007b', '\\u007b$(SLUICE_BRACE)')}}"
    )
    assert outputs(lower(flow).inner("shell"))["out"]["path"] == "/kfp/outputs/out"


@dsl.container_component
def authored(text: Optional[str] = None) -> dsl.ContainerSpec:  # noqa: UP045 - kfp reads this form
    either = dsl.IfPresentPlaceholder(input_name="text", then=["--text", text], else_=["--no=$(HOME)"])
    return dsl.ContainerSpec(image="alpine", command=["echo"], args=["$(HOME)", "$$", f"{text} $(HOME)$", either])


def test_kubernetes_expands_the_dollar_signs_that_the_author_wrote() -> None:
    @dsl.pipeline(name="flow")
    def flow(maybe: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        authored(text="a$(HOME)")
        authored(text=maybe)

    found = lower(flow)
    known = found.inner("authored")["container"]["args"]
    assert known[:2] == ["$(HOME)", "$$"]
    assert "'$', '$$') + ' $(HOME)$$'" in known[2], "the dollar signs of values are escaped, and so is a single one at the end"
    patch = found.inner("authored-2")["podSpecPatch"]
    assert "replace('$(HOME)', " in patch
    assert "replace('$$', " in patch
    assert "replace('--no=$(HOME)', " in patch


@dsl.container_component
def optional(text: Optional[str] = None) -> dsl.ContainerSpec:  # noqa: UP045 - kfp reads this form
    return dsl.ContainerSpec(
        image="alpine",
        command=["echo"],
        args=[dsl.IfPresentPlaceholder(input_name="text", then=["--text", text], else_=["--nothing", "at", "all"]), "end"],
    )


@dsl.container_component
def optional_command(text: Optional[str] = None) -> dsl.ContainerSpec:  # noqa: UP045 - kfp reads this form
    return dsl.ContainerSpec(
        image="alpine", command=[dsl.IfPresentPlaceholder(input_name="text", then=["echo", text], else_=["true"])]
    )


def test_the_compiler_decides_an_if_present_if_it_knows_whether_the_input_is_given() -> None:
    @dsl.pipeline(name="flow")
    def flow(given: str = "x") -> None:
        optional()
        optional(text=given)
        optional(text="known")

    found = lower(flow)
    assert found.inner("optional")["container"]["args"] == ["--nothing", "at", "all", "end"]
    assert found.inner("optional-2")["container"]["args"][0] == "--text"
    assert len(found.inner("optional-3")["container"]["args"]) == 3


def test_the_run_decides_an_if_present_if_only_it_knows_whether_the_input_is_null() -> None:
    @dsl.pipeline(name="flow")
    def flow(maybe: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        optional(text=maybe)
        optional_command(text=maybe)

    found = lower(flow)
    patch = parse_with_tags(found.inner("optional")["podSpecPatch"])
    assert patch["containers"][0]["name"] == "main"
    assert "inputs.parameters.text == 'null' ? [" in patch["containers"][0]["args"]
    assert "args" not in found.inner("optional")["container"]
    patch = parse_with_tags(found.inner("optional-command")["podSpecPatch"])
    assert "inputs.parameters.text == 'null' ? [" in patch["containers"][0]["command"]
    assert "command" not in found.inner("optional-command")["container"]


def test_an_input_may_be_null_inside_a_condition_a_loop_and_a_nested_pipeline() -> None:
    @dsl.pipeline(name="nested")
    def nested(text: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        optional(text=text)

    @dsl.pipeline(name="flow")
    def flow(flag: bool, maybe: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        with dsl.If(flag == True):  # noqa: E712 - kfp's form
            optional(text=maybe)
        with dsl.ParallelFor([1, 2]):
            optional(text=maybe)
        nested(text=maybe)

    found = lower(flow)
    for template in (
        found.inner("condition*", "optional"),
        found.inner("for-loop*", "optional*"),
        found.inner("nested", "optional"),
    ):
        assert "inputs.parameters.text == 'null' ? ['" not in str(template["container"])
        assert "inputs.parameters.text == 'null' ? [" in template["podSpecPatch"]


@dsl.pipeline(name="either")
def either(flag: bool) -> str:
    with dsl.If(flag == True):  # noqa: E712 - kfp's form
        one = say(text="x")
    with dsl.Else():
        other = say(text="y")
    return dsl.OneOf(one.output, other.output)


def test_the_output_of_a_nested_pipeline_may_be_null() -> None:
    @dsl.pipeline(name="flow")
    def flow(flag: bool) -> None:
        optional(text=either(flag=flag).output)

    assert "inputs.parameters.text == 'null' ? [" in lower(flow).inner("optional")["podSpecPatch"]


@dsl.container_component
def both(a: Optional[str] = None, b: Optional[str] = None) -> dsl.ContainerSpec:  # noqa: UP045 - kfp reads this form
    inner = dsl.IfPresentPlaceholder("b", then=["--b", b], else_=["--no-b"])
    return dsl.ContainerSpec(
        image="alpine", command=["echo"], args=[dsl.IfPresentPlaceholder("a", then=["--a", a, inner], else_=["--no-a"])]
    )


def test_a_nested_if_present_is_decided_independently_of_the_outer_one() -> None:
    @dsl.pipeline(name="flow")
    def flow(a: Optional[str] = None, b: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        both(a="known", b=b)
        both(a=a, b=b)
        both(a="known")

    found = lower(flow)
    inner = "(inputs.parameters.b == 'null' ? [replace('--no-b', "
    patch = found.inner("both")["podSpecPatch"]
    assert inner in patch, "the compiler knows the outer input but not the inner one"
    assert "inputs.parameters.a == 'null'" not in patch
    patch = found.inner("both-2")["podSpecPatch"]
    assert "(inputs.parameters.a == 'null' ? [replace('--no-a', " in patch
    assert inner in patch
    assert "'--b' + " not in patch, "two arguments, not one"
    assert found.inner("both-3")["container"]["args"][-1] == "--no-b"


@dsl.container_component
def typed(real: float, whole: int, many: list, text: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="alpine", command=["echo"], args=[real, whole, many, text])


def test_a_container_gets_a_number_without_its_mark() -> None:
    @component
    def rows() -> list[dict]:
        return []

    @dsl.pipeline(name="flow")
    def flow() -> None:
        with dsl.ParallelFor(rows().output) as row:
            typed(real=row.r, whole=row.w, many=row.m, text=row.t)
            say(text=f"row={row}")

    found = lower(flow)
    real, whole, listed, text = found.inner("for-loop*", "typed")["container"]["args"]
    for number, name in ((real, "real"), (whole, "whole")):
        assert f"""trimPrefix(trim(inputs.parameters.{name}, '"'), '\\\\u0000#')""" in number
    for other, name in ((listed, "many"), (text, "text")):
        assert f"""\\\\u0000#([^"\\\\\\\\]*)"', inputs.parameters.{name}, '$1$2')""" in other
    assert "trimPrefix(fromJSON(inputs.parameters.text), '\\u0000#')" in text
    said = arguments(found.task("say", found.task("for-loop*")["template"]))["text"]
    assert "'row=' + (type(" in said
    assert "trimPrefix(" in said


def test_an_optional_text_that_is_null_becomes_an_empty_text() -> None:
    @dsl.container_component
    def bare(text: Optional[str] = None) -> dsl.ContainerSpec:  # noqa: UP045 - kfp reads this form
        return dsl.ContainerSpec(image="alpine", command=["echo"], args=[text])

    @dsl.pipeline(name="flow")
    def flow(maybe: Optional[str] = None) -> None:  # noqa: UP045 - kfp reads this form
        bare(text=maybe)

    assert "(inputs.parameters.text == 'null' ? '' : " in lower(flow).inner("bare")["container"]["args"][0]
