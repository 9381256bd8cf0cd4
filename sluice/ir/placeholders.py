"""Parse KFP's placeholders in commands, arguments and constants."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{\$(?:\.([^{}]*))?\}\}")
_NAMED = re.compile(r"""^(inputs|outputs)\.(parameters|artifacts)\[(?:'([^']*)'|"([^"]*)")\](.*)$""")
_KEY = re.compile(r"""^\.metadata\[(?:'([^']*)'|"([^"]*)")\]$""")

RUN_FIELDS = frozenset(
    {
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_job_create_time_utc",
        "pipeline_job_schedule_time_utc",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_root",
        "workspace_path",
    }
)
"""Fields of a run, as KFP names them."""


@dataclass(frozen=True, slots=True)
class ExecutorInput:
    """``{{$}}``: KFP's whole executor input as JSON."""


@dataclass(frozen=True, slots=True)
class InputParameter:
    """The value of an input parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class ArtifactField:
    """A field of an artifact.

    Attributes:
        name: The artifact.
        output: Whether the artifact is an output.
        field: ``uri``, ``path``, ``metadata`` or ``name``; empty for the whole descriptor as JSON.
        key: Key of the metadata; empty for all metadata.
    """

    name: str
    output: bool
    field: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """The file to which a container writes an output parameter. An empty name stands for the executor's own output file."""

    name: str


@dataclass(frozen=True, slots=True)
class RunField:
    """A field of the run: one of `RUN_FIELDS`."""

    name: str


@dataclass(frozen=True, slots=True)
class UnknownPlaceholder:
    """A placeholder that KFP does not document."""

    text: str


Piece = str | ExecutorInput | InputParameter | ArtifactField | OutputFile | RunField | UnknownPlaceholder
"""A plain text or a placeholder."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text: plain texts and placeholders in order."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """Arguments that are concatenated to one."""

    items: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class IfPresent:
    """Arguments that depend on whether the task gives an optional input."""

    name: str
    then: tuple[Argument, ...]
    otherwise: tuple[Argument, ...]


Argument = Text | Concat | IfPresent
"""One entry of a command or its arguments."""


def describe_piece(piece: Piece) -> str:
    """Return the name of a placeholder for a message."""
    if isinstance(piece, ExecutorInput):
        return "{{$}}"
    return repr(getattr(piece, "text", None) or getattr(piece, "name", piece))


def read_text(text: str) -> Text:
    """Split a text at its placeholders."""
    pieces: list[Piece] = []
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        if match.start() > position:
            pieces.append(text[position : match.start()])
        pieces.append(_placeholder(match[1], match[0]))
        position = match.end()
    if position < len(text):
        pieces.append(text[position:])
    return Text(tuple(pieces))


def read_argument(text: str) -> Argument:
    """Read one argument: a text with placeholders, or KFP's JSON for Concat and IfPresent, which can be nested."""
    if text.startswith(('{"Concat"', '{"IfPresent"')):
        try:
            return _structured(json.loads(text))
        except (ValueError, KeyError, TypeError):
            return read_text(text)
    return read_text(text)


def _structured(raw: Any) -> Argument:  # noqa: ANN401 - JSON
    if isinstance(raw, str):
        return read_argument(raw)
    if "Concat" in raw:
        return Concat(tuple(_structured(item) for item in raw["Concat"]))
    branch = raw["IfPresent"]
    return IfPresent(branch["InputName"], _many(branch.get("Then")), _many(branch.get("Else")))


def _many(raw: Any) -> tuple[Argument, ...]:  # noqa: ANN401 - JSON
    if raw is None:
        return ()
    return tuple(_structured(item) for item in raw) if isinstance(raw, list) else (_structured(raw),)


def _placeholder(path: str | None, text: str) -> Piece:  # noqa: PLR0911 - one for each kind
    if path is None:
        return ExecutorInput()
    if path in RUN_FIELDS:
        return RunField(path)
    if path == "outputs.output_file":
        return OutputFile("")
    match = _NAMED.match(path)
    if not match:
        return UnknownPlaceholder(text)
    side, kind, name, rest = match[1], match[2], match[3] or match[4] or "", match[5]
    if kind == "artifacts":
        key = _KEY.match(rest)
        if key:
            return ArtifactField(name, side == "outputs", "metadata", key[1] or key[2])
        if rest in {"", ".uri", ".path", ".metadata", ".name"}:
            return ArtifactField(name, side == "outputs", rest[1:])
    elif side == "inputs" and not rest:
        return InputParameter(name)
    elif side == "outputs" and rest == ".output_file":
        return OutputFile(name)
    return UnknownPlaceholder(text)


def pieces_of(argument: Argument) -> list[Piece]:
    """Return every piece of an argument, at any depth."""
    match argument:
        case Text(pieces):
            return list(pieces)
        case Concat(items):
            return [piece for item in items for piece in pieces_of(item)]
        case IfPresent(_, then, otherwise):
            return [piece for item in (*then, *otherwise) for piece in pieces_of(item)]


def is_plain(argument: Argument) -> bool:
    """Return whether an argument is a text without placeholders."""
    return isinstance(argument, Text) and all(isinstance(piece, str) for piece in argument.pieces)
