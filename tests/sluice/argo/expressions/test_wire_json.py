"""Tests of wire JSON and of Argo's expressions: every value survives unchanged, and no part of it can be taken for a template."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.argo import launcher
from sluice.argo.expressions.wire_json import (
    Tag,
    TextWithTags,
    as_wire_json,
    escape_argument,
    escape_tags,
    from_wire,
    json_with_tags,
    literal,
    to_wire,
)

TEXTS = st.one_of(st.text(max_size=12), st.text(st.sampled_from("\0#1.e+-{}$\\\"'/NaInfity⦃(s\n"), max_size=12))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**53 - 2, 2**53 + 2),
    st.floats(),
    st.floats(-1e3, 1e3).map(round).map(float),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)), max_leaves=12
)


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_every_json_value_survives_wire_json_with_its_type(value: Any) -> None:
    text = to_wire(value)
    assert ascii(from_wire(text)) == ascii(value)
    assert "{{" not in text
    assert "$" not in text
    assert text.isascii()
    assert "\x7f" not in text


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(VALUES, max_size=4), st.dictionaries(TEXTS, VALUES, max_size=4)))
def test_a_value_survives_a_json_reader_that_knows_only_doubles(value: Any) -> None:
    """Argo reads and writes JSON with doubles only. The numbers inside lists and dicts must survive this."""
    through = json.dumps(json.loads(to_wire(value), parse_int=float), default=str)
    again = json.loads(through, parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text))
    assert ascii(launcher.decode(again)) == ascii(value)


@settings(max_examples=200, deadline=None)
@given(SCALARS)
def test_the_shortcut_gives_the_same_text_as_the_launcher(value: Any) -> None:
    assert to_wire(value) == launcher.wire(value, nested=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3.0"),
        ([3.0], '["\\u0000#3.0"]'),
        ([3], "[3]"),
        (2**53, "9007199254740992"),
        ([2**53 + 1], '["\\u0000#9007199254740993"]'),
        (math.inf, '"\\u0000#Infinity"'),
        ("\0#3.0", '"\\u0000\\u0000#3.0"'),
        ("a{{b$", '"a\\u007b\\u007bb\\u0024"'),
        ("{{{", '"\\u007b\\u007b{"'),
        ({"a": {"b": {}}}, '{"a": {"b": {}}}'),
        (None, "null"),
        ("null", '"null"'),
    ],
)
def test_wire_json_has_the_documented_form(value: Any, text: str) -> None:
    assert to_wire(value) == text


@settings(max_examples=500, deadline=None)
@given(st.text(st.one_of(st.sampled_from("⦃({s$)}aA_ "), st.characters()), max_size=20))
def test_an_escaped_argument_contains_no_template_and_the_launcher_restores_it(argument: str) -> None:
    escaped = escape_argument(argument)
    assert "{{" not in escaped
    assert "$$" not in escaped
    assert not re.search(r"\$\([-A-Za-z0-9_.]+\)", escaped)
    if argument == "{{$}}":
        assert escaped == "{$}"
    else:
        assert escaped != "{$}"
        assert launcher.unescape(escaped) == argument


def test_the_command_substitution_of_a_shell_is_not_escaped() -> None:
    assert escape_argument('$(mktemp -d) "$0" $(command -v pip)') == '$(mktemp -d) "$0" $(command -v pip)'
    assert escape_argument("$(HOME)") == "⦃s(HOME)"


@settings(max_examples=300, deadline=None)
@given(TEXTS.map(lambda text: text.replace("\0", "")))
def test_a_string_literal_contains_no_braces_and_evaluates_to_its_text(text: str) -> None:
    found = literal(text)
    assert "{" not in found
    assert "}" not in found
    assert "\n" not in found
    assert eval(found) == text  # noqa: S307 - the escapes that expr-lang and Python share


@pytest.mark.parametrize(
    "expression",
    ["{'a': {'b': {'c': 1}}}", "{'a': {'b': 1}}", "map(x, {#})", "{}", "{'a': {'b': {'c': {'d': {}}}}}"],
)
def test_a_tag_ends_where_its_expression_ends(expression: str) -> None:
    text = f'{{"a": {Tag(expression)}}}'
    start = text.index("{{=")
    inner = text[start + 3 : text.index("}}", start)]
    assert inner.replace(" ", "") == expression.replace(" ", "")
    assert text[text.index("}}", start) + 2 :] == "}"


@pytest.mark.parametrize(
    "content", [{Tag("k"): 1}, {"a": {Tag("k"): Tag("v")}}, [Tag("x"), {Tag("k", quoted=True): 2}], [[Tag("x")]]]
)
def test_a_tag_in_json_begins_with_exactly_two_braces(content: Any) -> None:
    text = json_with_tags(content)
    assert "{{{" not in text
    assert re.findall(r"\{\{=(.*?)\}\}", text) == re.findall(r"[kvx]", text)


def test_json_with_tags_is_json_after_argo_replaced_the_tags() -> None:
    text = json_with_tags({"a": Tag("x"), "b": [Tag("y", quoted=True), TextWithTags("{{pod.name}}/z")], "c": "{{", "d": (1, 2.5)})
    assert text == '{"a": {{=x}}, "b": ["{{=y}}", "{{pod.name}}/z"], "c": "\\u007b\\u007b", "d": [1, 2.5]}'
    assert json.loads(text.replace("{{=x}}", "1"))["c"] == "{{"


def test_a_text_with_two_opening_braces_becomes_an_expression() -> None:
    assert escape_tags("no tag {here}") == "no tag {here}"
    assert escape_tags("a {{workflow.name}}") == r"{{='a \u007b\u007bworkflow.name\u007d\u007d'}}"


def test_an_expression_for_wire_json_escapes_braces_and_dollar_signs() -> None:
    assert as_wire_json("x") == r"replace(replace(x, '\u007b\u007b', '\\u007b\\u007b'), '$', '\\u0024')"
