"""What a person typed about a run: its arguments, the types of the pipeline's parameters, and the id of a run. Pure functions."""

from __future__ import annotations

import json
import re
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


_ID_FORMS = {
    "local": (
        re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}"),
        "the time of its start and four hexadecimal digits, as in 20261130-051007-1f2e",
    ),
    "argo": (
        re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"),
        "the name of its Workflow: lower-case letters, digits, hyphens and dots, as in churn-release-x7k2p",
    ),
    "kfp": (
        re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
        "a UUID, as in 4f2b8a10-6c3d-4e5f-9a7b-0c1d2e3f4a5b",
    ),
}
"""Engine → the form of its run ids, and what a person reads about it. An id becomes a part of the URLs of an engine's server."""


def is_run_id(engine: str, run: str) -> bool:
    """Return whether an engine could have given this id to a run."""
    return _ID_FORMS[engine][0].fullmatch(run) is not None


def check_run_id(run: str, *engines: str) -> None:
    """Check that a text has the form of a run id of one of these engines.

    Raises:
        UsageError: It has not. The hint says what an id looks like.
    """
    if not any(is_run_id(engine, run) for engine in engines):
        forms = "; ".join(f"on {engine} it is {_ID_FORMS[engine][1]}" for engine in engines)
        raise UsageError(
            f"{run!r} is no id of a run", hint=f"`sluice runs` lists the runs with their ids. What an id is: {forms}."
        )


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
