"""KFP's conditions as Argo's ``when``: an expression that gives true or false, so that govaluate has nothing to guess."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluice.argo.expressions.values import TAG, to_text, untag
from sluice.argo.expressions.wire_json import Tag, literal
from sluice.ir.conditions import Binary, Cast, Expression, Input, Literal, Not, read_condition
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from sluice.argo.expressions.values import Value

_NUMBERS = {ParameterType.INTEGER, ParameterType.DOUBLE}
_NUMERAL = re.compile(r"-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?$")
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_CASTS = {"int": "int", "double": "float", "string": "string"}


def lower_condition(text: str, inputs: dict[str, tuple[Value, ParameterType]]) -> str:
    """A condition as the text of ``when``.

    Raises:
        ValueError: It is not of the subset that KFP's compiler writes.
    """
    return str(Tag(_lower(read_condition(text), inputs)))


def _lower(expression: Expression, inputs: dict[str, tuple[Value, ParameterType]]) -> str:  # noqa: PLR0911 - one for each kind
    match expression:
        case Literal(known):
            return _literal(known)
        case Input(name):
            if name not in inputs:
                raise ValueError(f"the condition reads {name!r}, which the task has no input for")
            value, kind = inputs[name]
            return _number(value) if kind in _NUMBERS else value.parsed
        case Cast("bool", operand):
            return f"({_lower(operand, inputs)} in [true, 'true'])"
        case Cast(to, Input(name)) if to != "string" and name in inputs:
            return f"{_CASTS[to]}({_number(inputs[name][0])})"
        case Cast(to, operand):
            return f"{_CASTS[to]}({_lower(operand, inputs)})"
        case Not(operand):
            return f"!({_lower(operand, inputs)})"
        case Binary():
            return _binary(expression, inputs)


def _binary(expression: Binary, inputs: dict[str, tuple[Value, ParameterType]]) -> str:
    operator = expression.operator
    match expression.left, expression.right:
        case Input(name), Literal(str(known)) if _is_open(name, inputs):
            return _compared(inputs[name][0], operator, known)
        case Literal(str(known)), Input(name) if _is_open(name, inputs):
            return _compared(inputs[name][0], _MIRRORED.get(operator, operator), known)
        case Input() as left, Input() as right:
            return f"({_text(left, inputs)} {operator} {_text(right, inputs)})"
        case left, right:
            return f"({_lower(left, inputs)} {operator} {_lower(right, inputs)})"


def _is_open(name: str, inputs: dict[str, tuple[Value, ParameterType]]) -> bool:
    """Whether an input is declared a string and may be anything: KFP's compiler declares so for a field of a loop's item."""
    return name in inputs and inputs[name][1] is ParameterType.STRING and not inputs[name][0].is_text


def _text(operand: Input, inputs: dict[str, tuple[Value, ParameterType]]) -> str:
    return to_text(*inputs[operand.name]) if _is_open(operand.name, inputs) else _lower(operand, inputs)


def _compared(value: Value, operator: str, known: str) -> str:
    """A value of any type beside a text: KFP compares the value's own text, and writes a number or a truth as its text too.

    So 1, 1.0 and "1" are all equal to ``'1'``. Which of two is greater KFP decides by their texts, where 10 comes before 9; here
    numbers are compared as numbers.
    """
    parsed = value.parsed
    if operator not in {"==", "!="}:
        if not _NUMERAL.match(known):
            return f"({to_text(value, ParameterType.STRING)} {operator} {literal(known)})"
        is_text = f"type({parsed}) == 'string' && !hasPrefix({parsed}, '{TAG}')"
        return f"({is_text} ? {parsed} {operator} {literal(known)} : {_number(value)} {operator} {float(known)!r})"
    alike = [literal(known), *_values_of(known)]
    if len(alike) == 1:
        return f"({parsed} {operator} {alike[0]})"
    return f"{'!' if operator == '!=' else ''}({parsed} in [{', '.join(alike)}])"


def _values_of(text: str) -> list[str]:
    """Literals of the numbers and truths that a text stands for, as they come out of wire JSON."""
    if text in {"true", "false"}:
        return [text]
    if not _NUMERAL.match(text):
        return []
    number = float(text)
    if not number.is_integer():
        return [repr(number)]
    if abs(number) < 2**53:
        return [str(int(number)), f"'{TAG}{number!r}'"]
    return [repr(number), f"'{TAG}{number!r}'", f"'{TAG}{text}'"]


def _number(value: Value) -> str:
    """A number out of wire JSON, also where it is tagged (see `sluice.argo.launcher`)."""
    return f"float({untag(f'string({value.parsed})')})"


def _literal(value: str | float | bool | None) -> str:  # noqa: FBT001 - a literal's value
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value) if isinstance(value, str) else repr(value)
