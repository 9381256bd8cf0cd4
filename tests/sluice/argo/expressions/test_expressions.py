"""Expressions of Argo's that the compiler writes for values and conditions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.argo.expressions.values import (
    Run,
    Value,
    collect,
    constant,
    constant_with_placeholders,
    dynamic,
    from_text,
    has_placeholder,
    join,
    raw,
    select,
    to_items,
    to_text,
)
from sluice.argo.expressions.when_conditions import lower_condition
from sluice.argo.expressions.wire_json import parse_json
from sluice.ir.graph import ParameterType

STRING, INTEGER, DOUBLE = ParameterType.STRING, ParameterType.INTEGER, ParameterType.DOUBLE
BOOLEAN, LIST, STRUCT = ParameterType.BOOLEAN, ParameterType.LIST, ParameterType.STRUCT


def test_a_constant_is_its_own_text_and_a_literal_of_it() -> None:
    found = constant("it's {{x}}")
    assert parse_json(found.text) == "it's {{x}}"
    assert found.expression.startswith("'")
    assert found.is_constant
    assert not found.maybe_null
    assert constant(None).is_null


def test_a_value_of_the_run_is_a_tag() -> None:
    found = dynamic("inputs.parameters.a")
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
def test_text_that_a_container_wrote_is_typed_by_its_declaration(kind: ParameterType, expression: str) -> None:
    assert from_text("t", kind) == expression


@pytest.mark.parametrize("kind", [STRING, LIST, STRUCT])
def test_text_that_may_hold_braces_and_dollars_is_made_safe(kind: ParameterType) -> None:
    assert from_text("t", kind).startswith("replace(replace(")
    assert ("toJson(t)" in from_text("t", kind)) is (kind is STRING)


def test_the_text_null_is_null_only_where_a_value_may_be_missing() -> None:
    assert "'null'" not in from_text("t", STRING)
    assert from_text("t", STRING, null_text=True).startswith("(t == 'null' ? 'null' : ")
    assert from_text("t", BOOLEAN, null_text=True).startswith("(t == 'null' ? 'null' : ")
    assert raw("t", STRING, maybe_null=True).native == ""
    assert raw("t", STRING).native == "t"


def test_a_selector_is_followed_by_literal_keys() -> None:
    found = select(dynamic("x"), ("a", "it's", 0))
    assert found.parsed == "fromJSON(x)['a']['it\\'s'][0]"
    assert f"toJson({found.parsed})" in found.expression
    assert found.maybe_null


def test_a_loop_runs_over_the_wire_json_of_each_item() -> None:
    found = to_items(dynamic("x"))
    assert found.startswith("toJson(map(fromJSON(x), {replace(replace(toJson(#)")


def test_what_a_loop_gave_is_one_list() -> None:
    assert "{type(#) == 'string' ? " in collect("x", flatten=False), "Argo gives the outputs as they are or as texts"
    assert "reduce" not in collect("x", flatten=False)
    assert "concat(#acc, #), [])" in collect("x", flatten=True)


DIGITS = """trimPrefix(trim(x, '"'), '\\\\u0000#')"""
UNTAGGED = r"""sprig.regexReplaceAll('(^|[^\\\\])"\\\\u0000#([^"\\\\]*)"', x, '$1$2')"""


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (dynamic("x"), BOOLEAN, "x"),
        (dynamic("x"), INTEGER, DIGITS),
        (dynamic("x"), DOUBLE, DIGITS),
        (dynamic("x"), LIST, UNTAGGED),
        (dynamic("x"), STRUCT, UNTAGGED),
        (dynamic("x"), STRING, f"(type(fromJSON(x)) == 'string' ? trimPrefix(fromJSON(x), '\\u0000#') : {UNTAGGED})"),
        (raw("t", STRING), STRING, "t"),
        (raw("t", INTEGER), INTEGER, "trim(t)"),
        (
            raw("t", INTEGER),
            STRING,
            "(type(fromJSON(trim(t))) == 'string' ? trimPrefix(fromJSON(trim(t)), '\\u0000#') : trim(t))",
        ),
    ],
)
def test_a_value_becomes_text_never_a_tagged_number_nor_a_number_added_to_a_text(
    value: Value, kind: ParameterType, text: str
) -> None:
    assert to_text(value, kind) == text


def test_texts_are_joined() -> None:
    assert join([]) == "''"
    assert join(["a", "b"]) == "a + b"


def test_placeholders_are_found_at_any_depth() -> None:
    assert has_placeholder({"a": [{"{{$.pipeline_root}}": 1}]})
    assert not has_placeholder({"a": ["{{x}}", "{$}", 1, None]})


def test_a_placeholder_that_a_constant_cannot_hold_is_named() -> None:
    with pytest.raises(ValueError, match="pipeline_persistent_resource_id"):
        constant_with_placeholders("{{$.pipeline_persistent_resource_id}}", {}, Run("/kfp/store/"), "t")
    with pytest.raises(ValueError, match="'none'"):
        constant_with_placeholders("{{$.inputs.parameters['none']}}", {}, Run("/kfp/store/"), "t")


def condition(text: str) -> str:
    inputs = {
        "s": (dynamic("inputs.parameters.s"), STRING),
        "n": (dynamic("inputs.parameters.n"), INTEGER),
        "t": (raw("workflow.parameters.t", STRING), STRING),
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
        (f"{S} == {TEXT}", f"{{{{=({to_text(dynamic('inputs.parameters.s'), STRING)} == workflow.parameters.t)}}}}"),
        (f"{S} == null", "{{=(fromJSON(inputs.parameters.s) == nil)}}"),
        (
            f"{S} == '{{{{workflow.name}}}} it\\'s'",
            "{{=(fromJSON(inputs.parameters.s) == '\\u007b\\u007bworkflow.name\\u007d\\u007d it\\'s')}}",
        ),
    ],
)
def test_a_condition_is_one_expression_that_gives_true_or_false(text: str, when: str) -> None:
    assert condition(text) == when


def test_a_condition_on_what_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'other'"):
        condition("inputs.parameter_values['other'] == 1")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_no_constant_can_end_the_expression_of_a_condition(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    found = condition(f"{S} == '{quoted}'")
    assert len(re.findall(r"\{\{", found)) == len(re.findall(r"\}\}", found)) == 1
    assert found.endswith("}}")
