"""KFP's conditions as Argo's ``when``.

The result is one expression that gives true or false. Argo's own condition language (govaluate) then has no types to guess.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluice.argo.expressions.values import NUMBER_MARK, to_text, without_mark
from sluice.argo.expressions.wire_json import Tag, literal
from sluice.ir.conditions import Binary, Cast, Expression, Input, Literal, Not, read_condition
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from sluice.argo.expressions.values import Value

_NUMBERS = {ParameterType.INTEGER, ParameterType.DOUBLE}
_NUMERAL = re.compile(r"-?[0-9]+([.][0-9]+)?(e[-+]?[0-9]+)?$")
_SWAPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_CASTS = {"int": "int", "double": "float", "string": "string"}


def lower_condition(text: str, inputs: dict[str, tuple[Value, ParameterType]]) -> str:
    """Return the text of ``when`` for a condition.

    Args:
        text: The condition.
        inputs: Input parameter of the task → its value and its declared type.

    Raises:
        ValueError: The condition does not belong to the subset that KFP's compiler writes, or it reads an unknown input.
    """
    return str(Tag(_lower(read_condition(text), inputs)))


def _lower(expression: Expression, inputs: dict[str, tuple[Value, ParameterType]]) -> str:  # noqa: PLR0911 - one for each kind
    match expression:
        case Literal(known):
            return _literal(known)
        case Input(name):
            if name not in inputs:
                raise ValueError(f"the condition reads {name!r}, but the task has no input of this name")
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
        case Input(name), Literal(str(known)) if _may_be_any_type(name, inputs):
            return _compared(inputs[name][0], operator, known)
        case Literal(str(known)), Input(name) if _may_be_any_type(name, inputs):
            return _compared(inputs[name][0], _SWAPPED.get(operator, operator), known)
        case Input() as left, Input() as right:
            return f"({_text(left, inputs)} {operator} {_text(right, inputs)})"
        case left, right:
            return f"({_lower(left, inputs)} {operator} {_lower(right, inputs)})"


def _may_be_any_type(name: str, inputs: dict[str, tuple[Value, ParameterType]]) -> bool:
    """Return whether an input may have any type although it is declared a string.

    KFP's compiler declares a string for each field of a loop's item.
    """
    return name in inputs and inputs[name][1] is ParameterType.STRING and not inputs[name][0].is_text


def _text(operand: Input, inputs: dict[str, tuple[Value, ParameterType]]) -> str:
    return to_text(*inputs[operand.name]) if _may_be_any_type(operand.name, inputs) else _lower(operand, inputs)


def _compared(value: Value, operator: str, known: str) -> str:
    """Return an expression that compares a value of any type with a text.

    KFP compares the text of the value, and it also writes numbers and booleans as text. Therefore 1, 1.0 and "1" are all equal to
    ``'1'``. To decide which of two is greater, KFP compares the texts too, and so 10 is less than 9. This expression compares
    numbers as numbers instead.
    """
    parsed = value.parsed
    if operator not in {"==", "!="}:
        if not _NUMERAL.match(known):
            return f"({to_text(value, ParameterType.STRING)} {operator} {literal(known)})"
        is_text = f"type({parsed}) == 'string' && !hasPrefix({parsed}, '{NUMBER_MARK}')"
        return f"({is_text} ? {parsed} {operator} {literal(known)} : {_number(value)} {operator} {float(known)!r})"
    equal_values = [literal(known), *_values_of(known)]
    if len(equal_values) == 1:
        return f"({parsed} {operator} {equal_values[0]})"
    return f"{'!' if operator == '!=' else ''}({parsed} in [{', '.join(equal_values)}])"


def _values_of(text: str) -> list[str]:
    """Return literals of the numbers or the boolean that a text stands for, as they are after parsing wire JSON."""
    if text in {"true", "false"}:
        return [text]
    if not _NUMERAL.match(text):
        return []
    number = float(text)
    if not number.is_integer():
        return [repr(number)]
    if abs(number) < 2**53:
        return [str(int(number)), f"'{NUMBER_MARK}{number!r}'"]
    return [repr(number), f"'{NUMBER_MARK}{number!r}'", f"'{NUMBER_MARK}{text}'"]


def _number(value: Value) -> str:
    """Return an expression that gives a number, also if it is marked in wire JSON (see `sluice.argo.launcher`)."""
    return f"float({without_mark(f'string({value.parsed})')})"


def _literal(value: str | float | bool | None) -> str:  # noqa: FBT001 - a literal's value
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value) if isinstance(value, str) else repr(value)
