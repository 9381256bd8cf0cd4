"""Tests of the Argo expressions that the compiler writes for values and conditions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.argo.expressions.values import (
    Run,
    Value,
    collected_list,
    constant_value,
    constant_with_placeholders,
    has_placeholder,
    join_texts,
    raw_value,
    runtime_value,
    selected_part,
    to_items,
    to_text,
    wire_from_text,
)
from sluice.argo.expressions.when_conditions import lower_condition
from sluice.argo.expressions.wire_json import from_wire
from sluice.ir.graph import ParameterType

STRING, INTEGER, DOUBLE = ParameterType.STRING, ParameterType.INTEGER, ParameterType.DOUBLE
BOOLEAN, LIST, STRUCT = ParameterType.BOOLEAN, ParameterType.LIST, ParameterType.STRUCT


def test_a_constant_has_a_text_and_a_literal_expression() -> None:
    found = constant_value("it's {{x}}")
    assert from_wire(found.text) == "it's {{x}}"
    assert found.expression.startswith("'")
    assert found.is_constant
    assert not found.maybe_null
    assert constant_value(None).is_null


def test_the_text_of_a_value_that_only_the_run_knows_is_a_tag() -> None:
    found = runtime_value("inputs.parameters.a")
    assert found.text == "{{=inputs.parameters.a}}"
    assert found.parsed == "fromJSON(inputs.parameters.a)"
    assert not found.is_null


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        (INTEGER, "trim(t)"),
        (DOUBLE, "trim(t)"),
        (BOOLEAN, "(lower(trim(t)) in ['1', 't', 'true'] ? 'true' : 'false')"),
    ],
)
def test_the_text_that_a_container_wrote_gets_its_declared_type(kind: ParameterType, expression: str) -> None:
    assert wire_from_text("t", kind) == expression


@pytest.mark.parametrize("kind", [STRING, LIST, STRUCT])
def test_braces_and_dollar_signs_in_raw_text_are_escaped(kind: ParameterType) -> None:
    assert wire_from_text("t", kind).startswith("replace(replace(")
    assert ("toJson(t)" in wire_from_text("t", kind)) is (kind is STRING)


def test_the_text_null_is_a_null_only_if_the_value_may_be_missing() -> None:
    assert "'null'" not in wire_from_text("t", STRING)
    assert wire_from_text("t", STRING, null_text=True).startswith("(t == 'null' ? 'null' : ")
    assert wire_from_text("t", BOOLEAN, null_text=True).startswith("(t == 'null' ? 'null' : ")
    assert raw_value("t", STRING, maybe_null=True).native == ""
    assert raw_value("t", STRING).native == "t"


def test_a_selector_becomes_literal_keys() -> None:
    found = selected_part(runtime_value("x"), ("a", "it's", 0))
    assert found.parsed == "fromJSON(x)['a']['it\\'s'][0]"
    assert f"toJson({found.parsed})" in found.expression
    assert found.maybe_null


def test_a_loop_runs_over_the_wire_json_of_each_item() -> None:
    found = to_items(runtime_value("x"))
    assert found.startswith("toJson(map(fromJSON(x), {replace(replace(toJson(#)")


def test_the_outputs_of_a_loop_become_one_list() -> None:
    assert "{type(#) == 'string' ? " in collected_list("x", flatten=False), "Argo gives each output as JSON or as a string"
    assert "reduce" not in collected_list("x", flatten=False)
    assert "concat(#acc, #), [])" in collected_list("x", flatten=True)


DIGITS = """trimPrefix(trim(x, '"'), '\\\\u0000#')"""
WITHOUT_MARKS = r"""sprig.regexReplaceAll('(^|[^\\\\])"\\\\u0000#([^"\\\\]*)"', x, '$1$2')"""


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (runtime_value("x"), BOOLEAN, "x"),
        (runtime_value("x"), INTEGER, DIGITS),
        (runtime_value("x"), DOUBLE, DIGITS),
        (runtime_value("x"), LIST, WITHOUT_MARKS),
        (runtime_value("x"), STRUCT, WITHOUT_MARKS),
        (runtime_value("x"), STRING, f"(type(fromJSON(x)) == 'string' ? trimPrefix(fromJSON(x), '\\u0000#') : {WITHOUT_MARKS})"),
        (raw_value("t", STRING), STRING, "t"),
        (raw_value("t", INTEGER), INTEGER, "trim(t)"),
        (
            raw_value("t", INTEGER),
            STRING,
            "(type(fromJSON(trim(t))) == 'string' ? trimPrefix(fromJSON(trim(t)), '\\u0000#') : trim(t))",
        ),
    ],
)
def test_the_text_of_a_value_never_contains_a_marked_number(value: Value, kind: ParameterType, text: str) -> None:
    assert to_text(value, kind) == text


def test_texts_are_concatenated() -> None:
    assert join_texts([]) == "''"
    assert join_texts(["a", "b"]) == "a + b"


def test_placeholders_are_found_at_any_depth() -> None:
    assert has_placeholder({"a": [{"{{$.pipeline_root}}": 1}]})
    assert not has_placeholder({"a": ["{{x}}", "{$}", 1, None]})


def test_the_error_names_a_placeholder_that_a_constant_must_not_contain() -> None:
    with pytest.raises(ValueError, match="pipeline_persistent_resource_id"):
        constant_with_placeholders("{{$.pipeline_persistent_resource_id}}", {}, Run("/kfp/store/"), "t")
    with pytest.raises(ValueError, match="'none'"):
        constant_with_placeholders("{{$.inputs.parameters['none']}}", {}, Run("/kfp/store/"), "t")


def condition(text: str) -> str:
    inputs = {
        "s": (runtime_value("inputs.parameters.s"), STRING),
        "n": (runtime_value("inputs.parameters.n"), INTEGER),
        "t": (raw_value("workflow.parameters.t", STRING), STRING),
    }
    return lower_condition(text, inputs)


NUMBER = "float(trimPrefix(string(fromJSON(inputs.parameters.n)), '\\u0000#'))"
S, N, TEXT = "inputs.parameter_values['s']", "inputs.parameter_values['n']", "inputs.parameter_values['t']"
BIG = "'9007199254740993', 9007199254740992.0, '\\u0000#9007199254740992.0', '\\u0000#9007199254740993'"
GREATER = (
    "type(fromJSON(inputs.parameters.s)) == 'string' && !hasPrefix(fromJSON(inputs.parameters.s), '\\u0000#') ? "
    "fromJSON(inputs.parameters.s) > '0' : float(trimPrefix(string(fromJSON(inputs.parameters.s)), '\\u0000#'))"
)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (f"{S} == 'heads'", "{{=(fromJSON(inputs.parameters.s) == 'heads')}}"),
        (f"int({N}) >= 3", f"{{{{=(int({NUMBER}) >= 3)}}}}"),
        (f"{N} == 3.0", f"{{{{=({NUMBER} == 3.0)}}}}"),
        (
            f"!({S} == 'a') && {S} != \"b\"",
            "{{=(!((fromJSON(inputs.parameters.s) == 'a')) && (fromJSON(inputs.parameters.s) != 'b'))}}",
        ),
        (f"bool({S}) == true", "{{=((fromJSON(inputs.parameters.s) in [true, 'true']) == true)}}"),
        (f"string({N}) == '3'", f"{{{{=(string({NUMBER}) == '3')}}}}"),
        (f"{S} == '1'", "{{=(fromJSON(inputs.parameters.s) in ['1', 1, '\\u0000#1.0'])}}"),
        (f"'1.0' != {S}", "{{=!(fromJSON(inputs.parameters.s) in ['1.0', 1, '\\u0000#1.0'])}}"),
        (f"{S} == '0.5'", "{{=(fromJSON(inputs.parameters.s) in ['0.5', 0.5])}}"),
        (f"{S} == 'true'", "{{=(fromJSON(inputs.parameters.s) in ['true', true])}}"),
        (
            f"{S} == '9007199254740993'",
            f"{{{{=(fromJSON(inputs.parameters.s) in [{BIG}])}}}}",
        ),
        (f"{S} > '0'", f"{{{{=({GREATER} > 0.0)}}}}"),
        (f"'0' < {S}", f"{{{{=({GREATER} > 0.0)}}}}"),
        (f"{TEXT} == '1'", "{{=(workflow.parameters.t == '1')}}"),
        (f"{S} == {TEXT}", f"{{{{=({to_text(runtime_value('inputs.parameters.s'), STRING)} == workflow.parameters.t)}}}}"),
        (f"{S} == null", "{{=(fromJSON(inputs.parameters.s) == nil)}}"),
        (
            f"{S} == '{{{{workflow.name}}}} it\\'s'",
            "{{=(fromJSON(inputs.parameters.s) == '\\u007b\\u007bworkflow.name\\u007d\\u007d it\\'s')}}",
        ),
    ],
)
def test_a_condition_is_one_expression_that_gives_true_or_false(text: str, when: str) -> None:
    assert condition(text) == when


def test_a_condition_on_an_input_that_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'other'"):
        condition("inputs.parameter_values['other'] == 1")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_no_constant_can_end_the_expression_of_a_condition(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    found = condition(f"{S} == '{quoted}'")
    assert len(re.findall(r"\{\{", found)) == len(re.findall(r"\}\}", found)) == 1
    assert found.endswith("}}")
