"""KFP's conditions as Argo's ``when``: an expression that gives true or false, so that govaluate has nothing to guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.argo.wire import Tag, literal
from sluice.ir.conditions import Binary, Cast, Expression, Input, Literal, Not, read_condition
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from sluice.argo.values import Value

_NUMBERS = {ParameterType.INTEGER, ParameterType.DOUBLE}
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
        case Binary(operator, left, right):
            return f"({_lower(left, inputs)} {operator} {_lower(right, inputs)})"


def _number(value: Value) -> str:
    """A number out of wire JSON, also where it is tagged (see `sluice.argo.launcher`)."""
    return f"float(trimPrefix(string({value.parsed}), '\\u0000#'))"


def _literal(value: str | float | bool | None) -> str:  # noqa: FBT001 - a literal's value
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value) if isinstance(value, str) else repr(value)
