"""Tests of the conditions that KFP's compiler writes: every form, precedence as in CEL, strings, and errors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kfp import dsl

from sluice.ir.conditions import Binary, Cast, Expression, Input, Literal, Not, inputs_of, read_condition

A, B, C = Input("a"), Input("b"), Input("c")
IN_A = "inputs.parameter_values['a']"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{IN_A} == 'x'", Binary("==", A, Literal("x"))),
        ('inputs.parameter_values["a"] == "x"', Binary("==", A, Literal("x"))),
        (f"int({IN_A}) > 3", Binary(">", Cast("int", A), Literal(3))),
        (f"double({IN_A}) <= -2.5e3", Binary("<=", Cast("double", A), Literal(-2500.0))),
        (f"bool({IN_A}) == true", Binary("==", Cast("bool", A), Literal(True))),
        (f"string({IN_A}) != null", Binary("!=", Cast("string", A), Literal(None))),
        (f"!({IN_A} == 'x')", Not(Binary("==", A, Literal("x")))),
        (
            "!(1 < 2) && !(3 >= 4)",
            Binary("&&", Not(Binary("<", Literal(1), Literal(2))), Not(Binary(">=", Literal(3), Literal(4)))),
        ),
        ("!!true", Not(Not(Literal(True)))),
        ("  1==2  ", Binary("==", Literal(1), Literal(2))),
        ("false", Literal(False)),
        (
            "inputs.parameter_values['pipelinechannel--a-Output'] == ''",
            Binary("==", Input("pipelinechannel--a-Output"), Literal("")),
        ),
        ("inputs.parameter_values['a b \"c\"'] == 1", Binary("==", Input('a b "c"'), Literal(1))),
    ],
)
def test_every_form_of_a_condition_is_read(text: str, expected: Expression) -> None:
    assert read_condition(text) == expected


def test_and_has_a_higher_precedence_than_or() -> None:
    one, two, three = (Binary("==", Literal(n), Literal(n)) for n in (1, 2, 3))
    assert read_condition("1 == 1 || 2 == 2 && 3 == 3") == Binary("||", one, Binary("&&", two, three))
    assert read_condition("(1 == 1 || 2 == 2) && 3 == 3") == Binary("&&", Binary("||", one, two), three)
    assert read_condition("1 == 1 || 2 == 2 || 3 == 3") == Binary("||", Binary("||", one, two), three)


def test_not_has_a_higher_precedence_than_a_comparison() -> None:
    assert read_condition("!true == false") == Binary("==", Not(Literal(True)), Literal(False))
    assert read_condition("!true && false") == Binary("&&", Not(Literal(True)), Literal(False))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"'it\'s'", "it's"),
        ('"it\'s"', "it's"),
        (r'"a \"b\" \\ c"', 'a "b" \\ c'),
        (r"'line\nnext\ttab\r'", "line\nnext\ttab\r"),
        (r"'caf\u00e9 \U0001F600 \x41 \101'", "café 😀 A A"),
        (r"'\a\b\f\v\?\`'", "\a\b\f\v?`"),
        ("'&& || == ('", "&& || == ("),
        ("'{{workflow.name}} $(HOME)'", "{{workflow.name}} $(HOME)"),
        ("'inputs.parameter_values[0]'", "inputs.parameter_values[0]"),
        ("''", ""),
    ],
)
def test_a_string_is_read_as_in_cel(text: str, value: str) -> None:
    assert read_condition(text) == Literal(value)


@pytest.mark.parametrize("number", ["1", "-1", "0", "12345678901234567890"])
def test_whole_numbers_stay_integers(number: str) -> None:
    assert repr(read_condition(number)) == repr(Literal(int(number)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the condition '' ends too early"),
        ("1 ==", "ends too early"),
        ("int(1", "ends too early"),
        ("(1 == 1", "ends too early"),
        ("int", "ends too early"),
        ("1 == 1)", r"contains '\)' at a wrong position"),
        ("1 2", "contains '2' at a wrong position"),
        ("a == 1", "contains 'a' at a wrong position"),
        ("size('a') == 1", "contains 'size' at a wrong position"),
        ("1 + 1 == 2", r"the part ' \+ 1 == 2' of the condition '1 \+ 1 == 2' cannot be read"),
        ("1 ? 2 : 3", "cannot be read"),
        ("'it's'", "at a wrong position|cannot be read"),
        ("'open", "cannot be read"),
        (r"'\q'", "not an escape sequence of CEL"),
        (r"'\u12'", "not an escape sequence of CEL"),
        ("inputs.parameter_values[a] == 1", r"parameter_values\[a\] == 1' of the condition .* cannot be read"),
        ("1 == == 1", "contains '==' at a wrong position"),
        ("(1 == 1 2", "parenthesis"),
        ("(" * 5000 + "1" + ")" * 5000, "too deeply"),
    ],
)
def test_the_error_says_where_a_condition_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_condition(text)


def test_the_inputs_of_a_condition_are_listed_in_order_without_repetitions() -> None:
    text = f"int(inputs.parameter_values['b']) == 1 && !({IN_A} == 'x') || inputs.parameter_values['b'] == {IN_A}"
    assert inputs_of(read_condition(text)) == ["b", "a"]
    assert inputs_of(read_condition("1 == 1")) == []


def written(expression: Expression) -> str:  # noqa: PLR0911 - one for each kind
    """Return the expression as text, with every operation in parentheses."""
    match expression:
        case Input(name):
            return f"inputs.parameter_values['{name}']"
        case Cast(to, operand):
            return f"{to}({written(operand)})"
        case Not(operand):
            return f"!({written(operand)})"
        case Binary(operator, left, right):
            return f"({written(left)} {operator} {written(right)})"
        case Literal(bool() as known):
            return str(known).lower()
        case Literal(None):
            return "null"
        case Literal(str() as text):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Literal(value):
            return repr(value)


LITERALS = st.one_of(
    st.text("ab \"'\\{}$&|()é", max_size=6),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
LEAVES = st.one_of(st.sampled_from([A, B, C]), st.builds(Literal, LITERALS))
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Cast, st.sampled_from(["int", "double", "string", "bool"]), inner),
        st.builds(Binary, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||"]), inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS)
def test_a_condition_that_is_written_as_text_is_read_back_unchanged(expression: Expression) -> None:
    assert read_condition(written(expression)) == expression


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def flip() -> str:
    return "heads"


def test_the_conditions_that_kfp_compiles_are_read() -> None:
    @dsl.pipeline
    def flow(n: int, x: float, on: bool) -> None:
        flipped = flip()
        with dsl.If(flipped.output == "heads"):
            flip()
        with dsl.Elif(n > 3):
            flip()
        with dsl.Elif(x <= 0.5):
            flip()
        with dsl.Elif(on == True):  # noqa: E712 - KFP needs this form
            flip()
        with dsl.Else():
            flip()

    tasks = flow.pipeline_spec.components["comp-condition-branches-1"].dag.tasks.values()
    read = [read_condition(task.trigger_policy.condition) for task in tasks]
    assert len(read) == 5
    assert all(inputs_of(condition) for condition in read)
