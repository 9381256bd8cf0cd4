"""The arguments of a run: what a person typed, and whether the pipeline takes it. All functions are pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice.errors import UsageError
from sluice.ir.graph import ParameterType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.ir.graph import Parameter, Pipeline

_TYPES: dict[ParameterType, tuple[str, tuple[type, ...]]] = {
    ParameterType.STRING: ("a text", (str,)),
    ParameterType.BOOLEAN: ("true or false", (bool,)),
    ParameterType.INTEGER: ("a whole number", (int,)),
    ParameterType.DOUBLE: ("a number", (int, float)),
    ParameterType.LIST: ("a JSON list", (list, tuple)),
    ParameterType.STRUCT: ("a JSON object", (dict,)),
}


def parse_arguments(pipeline: Pipeline, pairs: Iterable[str]) -> dict[str, Any]:
    """Return the arguments that a person typed as ``name=value``, in the types of the pipeline's parameters.

    The value of a text parameter is the text itself, with all of its quotes and equals signs. Any other value is JSON.

    Raises:
        UsageError: A pair has no equals sign or comes twice, or a value is not JSON.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not (name and sign):
            raise UsageError(f"--arg {pair!r} is not NAME=VALUE", hint="Give it as in --arg snapshot=data/new.parquet")
        if name in found:
            raise UsageError(f"--arg {name} is given twice", hint="Give each parameter once.")
        parameter = pipeline.root.inputs.get(name)
        found[name] = text if parameter is None or parameter.type is ParameterType.STRING else _parse(name, parameter, text)
    return found


def _parse(name: str, parameter: Parameter, text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"--arg {name}={text!r} is not {_describe(parameter)}: {error}",
            hint="Give the value as JSON, for example --arg ratio=0.5",
        ) from error


def _describe(parameter: Parameter) -> str:
    return _TYPES[parameter.type][0] if parameter.type in _TYPES else "a value that a person can give"


def check_arguments(pipeline: Pipeline, arguments: Mapping[str, Any]) -> None:
    """Check that the pipeline takes the arguments.

    Raises:
        UsageError: The pipeline has no such parameter, or needs one that is not given, or a value has another type.
    """
    known = pipeline.root.inputs
    names = ", ".join(known) or "none"
    for name, value in arguments.items():
        if name not in known:
            raise UsageError(f"the pipeline {pipeline.name} has no parameter {name!r}", hint=f"Its parameters are: {names}.")
        if not _fits(known[name].type, value):
            raise UsageError(
                f"the parameter {name} of the pipeline {pipeline.name} takes {_describe(known[name])}, not {value!r}",
                hint="Give a value of that type.",
            )
    for name, each in known.items():
        if name not in arguments and not (each.has_default or each.optional):
            raise UsageError(
                f"the pipeline {pipeline.name} needs a value for its parameter {name!r}", hint=f"Add --arg {name}=VALUE."
            )


def _fits(kind: ParameterType, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if kind not in _TYPES or (isinstance(value, bool) and kind is not ParameterType.BOOLEAN):
        return False
    return isinstance(value, _TYPES[kind][1])
