"""Commands, arguments and other texts of a container, with their placeholders as Argo's expressions.

A container without the launcher gets a value as text: strings bare, everything else as JSON. Argo would look for tags in it, also
after it was put in, and Kubernetes for ``$(…)``. So a value's dollar signs are doubled, which Kubernetes undoes, and two opening
braces are written as ``{$(SLUICE_BRACE)``: Argo finds no tag, and Kubernetes puts the brace in from the container's environment.
What the author wrote beside the placeholders is Kubernetes' text as ever.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.artifact_store import OUTPUTS
from sluice.argo.expressions.values import dynamic, join, to_text
from sluice.argo.expressions.wire_json import Tag, dump, literal, plain, safe, wire
from sluice.argo.steps.inputs_and_outputs import executor_input, input_place, output_place, output_uri, result_place
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


BRACE = "SLUICE_BRACE"


def field_text(text: str, context: Context) -> str:
    """A field that Kubernetes takes as it is, such as an image."""
    parsed = read_text(text)
    return plain(text) if is_plain(parsed) else str(Tag(_text(parsed, context)))


def json_text(text: str, context: Context) -> str | Tag:
    """A text for a place in JSON: itself, or an expression of its JSON."""
    parsed = read_text(text)
    return text if is_plain(parsed) else Tag(safe(f"toJson({_text(parsed, context)})"))


def env_text(text: str, context: Context) -> str:
    """An environment variable: what its author wrote is Kubernetes' text, and what a placeholder stands for is data."""
    parsed = read_text(text)
    return without_tags(text) if is_plain(parsed) else str(Tag(_kubernetes_text(parsed, context)))


def without_tags(text: str) -> str:
    """A text of Kubernetes' in which Argo finds no tag, and which Kubernetes puts together again."""
    return text.replace("{{", f"{{$({BRACE})")


def mixed_text(text: str, context: Context) -> str:
    """An argument behind the launcher that holds placeholders beside the executor input."""
    return str(Tag(_argument(read_argument(text), context)))


def lower_all(texts: tuple[str, ...], context: Context) -> Any:  # noqa: ANN401 - see below
    """A command or arguments.

    Returns:
        A list of texts; or an expression of a JSON list, where their number is known only when running.
    """
    parsed = [read_argument(text) for text in texts]
    if any(_is_open(each, context) for each in parsed):
        return f"toJson({_listed(parsed, context)})"
    return [text for each in parsed for text in _static(each, context)]


def _is_open(argument: Argument, context: Context) -> bool:
    """Whether only the run knows how many texts an argument is."""
    if not isinstance(argument, IfPresent):
        return False
    return argument.name in context.call.unsure or any(_is_open(each, context) for each in _chosen(argument, context))


def _chosen(argument: IfPresent, context: Context) -> tuple[Argument, ...]:
    return argument.then if context.is_given(argument.name) else argument.otherwise


def _static(argument: Argument, context: Context) -> list[str]:
    if isinstance(argument, IfPresent):
        return [text for each in _chosen(argument, context) for text in _static(each, context)]
    if is_plain(argument) and isinstance(argument, Text):
        return [without_tags("".join(str(piece) for piece in argument.pieces))]
    if isinstance(argument, Text) and argument.pieces == (ExecutorInput(),):
        return [dump(executor_input(context, {}))]
    return [str(Tag(_kubernetes_text(argument, context)))]


def _listed(arguments: Sequence[Argument], context: Context) -> str:
    """Arguments as an expression of the list of their texts."""
    parts = []
    for is_choice, group in groupby(arguments, lambda each: isinstance(each, IfPresent)):
        if is_choice:
            parts += [_choice(each, context) for each in group if isinstance(each, IfPresent)]
        else:
            parts.append("[" + ", ".join(_kubernetes_text(each, context) for each in group) + "]")
    return parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})" if parts else "[]"


def _choice(argument: IfPresent, context: Context) -> str:
    if argument.name not in context.call.unsure:
        return _listed(_chosen(argument, context), context)
    then, other = (_listed(branch, context) for branch in (argument.then, argument.otherwise))
    return f"({context.input(argument.name)} == 'null' ? {other} : {then})"


def _kubernetes_text(argument: Argument, context: Context) -> str:
    """One argument as an expression of the text that Kubernetes makes the argument of."""
    return f"replace({_argument(argument, context, is_shielded=True)}, '\\u007b\\u007b', '\\u007b$({BRACE})')"


def _argument(argument: Argument, context: Context, *, is_shielded: bool = False) -> str:
    """One argument as an expression of its text; where it is shielded, its values are data to Kubernetes."""

    def joined(arguments: Sequence[Argument]) -> str:
        return join([_argument(each, context, is_shielded=is_shielded) for each in arguments])

    match argument:
        case Concat(items):
            return joined(items)
        case IfPresent(name, then, otherwise):
            if name not in context.call.unsure:
                return f"({joined(_chosen(argument, context))})"
            return f"({context.input(name)} == 'null' ? {joined(otherwise)} : {joined(then)})"
        case Text(pieces):
            return join([_shielded(piece, context) if is_shielded else _piece(piece, context) for piece in pieces])


def _text(text: Text, context: Context) -> str:
    return join([_piece(piece, context) for piece in text.pieces])


def _shielded(piece: Piece, context: Context) -> str:
    if not isinstance(piece, str):
        return f"replace({_piece(piece, context)}, '$', '$$')"
    alone = (len(piece) - len(piece.rstrip("$"))) % 2  # else it would take a value's first brackets for a variable's
    return literal(piece + "$" * alone)


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
            return result_place(context)
        case OutputFile(name) if name in component.outputs:
            return literal(f"{OUTPUTS}/{context.names.outputs[name]}")
        case ArtifactField(name, output, _, _) if name in (component.output_artifacts if output else component.input_artifacts):
            return _artifact(piece, context)
        case _:
            raise ValueError(f"the placeholder {describe_piece(piece)} has no meaning here")


def _parameter(name: str, context: Context) -> str:
    if not context.is_given(name):
        return "''"
    declared, expression = context.call.component.inputs[name], context.input(name)
    text = to_text(dynamic(expression), declared.type)
    return f"({expression} == 'null' ? '' : {text})" if declared.optional and name in context.call.unsure else text


def _artifact(piece: ArtifactField, context: Context) -> str:  # noqa: PLR0911 - one for each field
    if piece.output:
        if piece.field == "path":
            return output_place(context, piece.name)
        if piece.field == "uri":
            return output_uri(context, piece.name)
        if piece.field == "name":
            return literal(piece.name)
        metadata = context.call.component.output_artifacts[piece.name].metadata
        return literal(wire(metadata.get(piece.key, "") if piece.key else dict(metadata)))
    if not context.is_given(piece.name):
        return "''"
    if piece.field == "path":
        return input_place(context, piece.name)
    if not piece.field:
        return context.input(piece.name)
    descriptor = f"fromJSON({context.input(piece.name)})"
    if piece.field != "metadata":
        return f"{descriptor}.{piece.field}"
    value = f"{descriptor}.metadata[{literal(piece.key)}]" if piece.key else f"{descriptor}.metadata"
    return to_text(dynamic(f"toJson({value})"), ParameterType.STRING)
