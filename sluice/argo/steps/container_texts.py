"""The command, the arguments and the other texts of a container, with expressions in place of KFP's placeholders.

A container without the launcher gets each value as text: a string as it is, and every other value as JSON. Argo would look for
tags in this text, even after it inserted the value, and Kubernetes would look for ``$(…)``. The compiler prevents both:

- The dollar signs of a value are doubled. Kubernetes undoes this.
- Two opening braces are written as ``{$(SLUICE_BRACE)``. Argo then finds no tag, and Kubernetes inserts the second brace from the
  container's environment.

The text that the author wrote around the placeholders keeps its meaning in Kubernetes.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.artifact_store import OUTPUTS
from sluice.argo.expressions.values import join_texts, runtime_value, to_text
from sluice.argo.expressions.wire_json import Tag, as_wire_json, escape_tags, json_with_tags, literal, to_wire
from sluice.argo.steps.inputs_and_outputs import executor_input, input_path, output_path, output_uri, result_path
from sluice.ir.graph import ParameterType
from sluice.ir.placeholders import (
    Argument,
    ArtifactField,
    Concat,
    ExecutorInput,
    IfPresent,
    InputParameter,
    OutputFile,
    RunField,
    Text,
    describe_piece,
    is_plain,
    read_argument,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.argo.compilation import Context
    from sluice.ir.placeholders import Piece


BRACE_VARIABLE = "SLUICE_BRACE"
"""Environment variable whose value is one opening brace."""


def field_text(text: str, context: Context) -> str:
    """Return a field in which Kubernetes replaces no variables, for example the image."""
    parsed = read_text(text)
    return escape_tags(text) if is_plain(parsed) else str(Tag(_text(parsed, context)))


def json_text(text: str, context: Context) -> str | Tag:
    """Return a text that is part of JSON: the text itself, or a tag that gives its JSON."""
    parsed = read_text(text)
    return text if is_plain(parsed) else Tag(as_wire_json(f"toJson({_text(parsed, context)})"))


def env_text(text: str, context: Context) -> str:
    """Return the value of an environment variable.

    Kubernetes replaces variables in the text that the author wrote, but not in the values of placeholders.
    """
    parsed = read_text(text)
    return escape_braces(text) if is_plain(parsed) else str(Tag(_kubernetes_text(parsed, context)))


def escape_braces(text: str) -> str:
    """Return a text in which Argo finds no tag. Kubernetes restores the braces."""
    return text.replace("{{", f"{{$({BRACE_VARIABLE})")


def launcher_argument(text: str, context: Context) -> str:
    """Return an argument for the launcher that contains placeholders other than the executor input alone."""
    return str(Tag(_argument(read_argument(text), context)))


def lower_texts(texts: tuple[str, ...], context: Context) -> Any:  # noqa: ANN401 - a list or a text, see Returns
    """Return a command or its arguments.

    Returns:
        A list of texts. If only the run knows how many texts there are, an expression that gives a JSON list.
    """
    parsed = [read_argument(text) for text in texts]
    if any(_has_unknown_length(each, context) for each in parsed):
        return f"toJson({_list_expression(parsed, context)})"
    return [text for each in parsed for text in _known_texts(each, context)]


def _has_unknown_length(argument: Argument, context: Context) -> bool:
    """Return whether only the run knows how many texts an argument becomes."""
    if not isinstance(argument, IfPresent):
        return False
    return argument.name in context.call.maybe_null or any(
        _has_unknown_length(each, context) for each in _known_branch(argument, context)
    )


def _known_branch(argument: IfPresent, context: Context) -> tuple[Argument, ...]:
    return argument.then if context.is_given(argument.name) else argument.otherwise


def _known_texts(argument: Argument, context: Context) -> list[str]:
    if isinstance(argument, IfPresent):
        return [text for each in _known_branch(argument, context) for text in _known_texts(each, context)]
    if is_plain(argument) and isinstance(argument, Text):
        return [escape_braces("".join(str(piece) for piece in argument.pieces))]
    if isinstance(argument, Text) and argument.pieces == (ExecutorInput(),):
        return [json_with_tags(executor_input(context, {}))]
    return [str(Tag(_kubernetes_text(argument, context)))]


def _list_expression(arguments: Sequence[Argument], context: Context) -> str:
    """Return an expression that gives the texts of arguments as a list."""
    parts = []
    for is_choice, group in groupby(arguments, lambda each: isinstance(each, IfPresent)):
        if is_choice:
            parts += [_choice(each, context) for each in group if isinstance(each, IfPresent)]
        else:
            parts.append("[" + ", ".join(_kubernetes_text(each, context) for each in group) + "]")
    return parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})" if parts else "[]"


def _choice(argument: IfPresent, context: Context) -> str:
    if argument.name not in context.call.maybe_null:
        return _list_expression(_known_branch(argument, context), context)
    then, other = (_list_expression(branch, context) for branch in (argument.then, argument.otherwise))
    return f"({context.input(argument.name)} == 'null' ? {other} : {then})"


def _kubernetes_text(argument: Argument, context: Context) -> str:
    """Return an expression that gives one argument as Kubernetes must get it, with escaped values."""
    return f"replace({_argument(argument, context, escape_values=True)}, '\\u007b\\u007b', '\\u007b$({BRACE_VARIABLE})')"


def _argument(argument: Argument, context: Context, *, escape_values: bool = False) -> str:
    """Return an expression that gives the text of one argument.

    If `escape_values` is true, Kubernetes replaces no variables in the values of placeholders.
    """

    def joined(arguments: Sequence[Argument]) -> str:
        return join_texts([_argument(each, context, escape_values=escape_values) for each in arguments])

    match argument:
        case Concat(items):
            return joined(items)
        case IfPresent(name, then, otherwise):
            if name not in context.call.maybe_null:
                return f"({joined(_known_branch(argument, context))})"
            return f"({context.input(name)} == 'null' ? {joined(otherwise)} : {joined(then)})"
        case Text(pieces):
            return join_texts([_escaped_piece(piece, context) if escape_values else _piece(piece, context) for piece in pieces])


def _text(text: Text, context: Context) -> str:
    return join_texts([_piece(piece, context) for piece in text.pieces])


def _escaped_piece(piece: Piece, context: Context) -> str:
    if not isinstance(piece, str):
        return f"replace({_piece(piece, context)}, '$', '$$')"
    # A single dollar sign at the end is doubled. Otherwise it would form a variable with a value that begins with a bracket.
    single = (len(piece) - len(piece.rstrip("$"))) % 2
    return literal(piece + "$" * single)


def _piece(piece: Piece, context: Context) -> str:
    component = context.call.component
    match piece:
        case str():
            return literal(piece)
        case InputParameter(name) if name in component.inputs:
            return _parameter(name, context)
        case RunField(name):
            return context.run.field(name, context.call.task.name)
        case OutputFile(""):
            return result_path(context)
        case OutputFile(name) if name in component.outputs:
            return literal(f"{OUTPUTS}/{context.names.outputs[name]}")
        case ArtifactField(name, output, _, _) if name in (component.output_artifacts if output else component.input_artifacts):
            return _artifact(piece, context)
        case _:
            raise ValueError(f"the placeholder {describe_piece(piece)} does not refer to an input or output of this step")


def _parameter(name: str, context: Context) -> str:
    if not context.is_given(name):
        return "''"
    declared, expression = context.call.component.inputs[name], context.input(name)
    text = to_text(runtime_value(expression), declared.type)
    return f"({expression} == 'null' ? '' : {text})" if declared.optional and name in context.call.maybe_null else text


def _artifact(piece: ArtifactField, context: Context) -> str:  # noqa: PLR0911 - one for each field
    if piece.output:
        if piece.field == "path":
            return output_path(context, piece.name)
        if piece.field == "uri":
            return output_uri(context, piece.name)
        if piece.field == "name":
            return literal(piece.name)
        metadata = context.call.component.output_artifacts[piece.name].metadata
        return literal(to_wire(metadata.get(piece.key, "") if piece.key else dict(metadata)))
    if not context.is_given(piece.name):
        return "''"
    if piece.field == "path":
        return input_path(context, piece.name)
    if not piece.field:
        return context.input(piece.name)
    descriptor = f"fromJSON({context.input(piece.name)})"
    if piece.field != "metadata":
        return f"{descriptor}.{piece.field}"
    value = f"{descriptor}.metadata[{literal(piece.key)}]" if piece.key else f"{descriptor}.metadata"
    return to_text(runtime_value(f"toJson({value})"), ParameterType.STRING)
