"""What every verb shares: the output format, the JSON envelope, the options of the same name."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sluice.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rich.console import RenderableType

    from sluice.errors import SluiceError
    from sluice.project.projects import Project

SCHEMA = "sluice/v1"


class Format(StrEnum):
    """How a verb prints its result."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Format, typer.Option("--output", help="table for people, json (one stable envelope, nothing else) for programs.")
]
ProjectOption = Annotated[
    Path | None, typer.Option("--project", help="Folder of the project; default: the nearest sluice.toml upwards.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The JSON that every verb prints: ``{schema, command, outcome, data, error}``."""

    command: str
    outcome: str
    data: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None

    def with_error(self, error: SluiceError) -> Envelope:
        """The same with an error in it."""
        return dataclasses.replace(self, error={"message": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def print(self) -> None:
        """Write it to standard output, and nothing else."""
        document = {"schema": SCHEMA, **dataclasses.asdict(self)}
        sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def wants_json(arguments: list[str]) -> bool:
    """Whether a command line asks for JSON, told before it was parsed, since parsing may be what fails."""
    return ("--output", "json") in itertools.pairwise(arguments) or "--output=json" in arguments


def name_command(arguments: list[str], groups: Collection[str]) -> str:
    """The command of a command line, as its envelope names it: ``rollout start``; told before it was parsed, too."""
    words = [word for word in arguments if not word.startswith("-")]
    return " ".join(words[: 2 if words and words[0] in groups else 1])


def confirm(yes: bool, output: Format, question: str) -> None:
    """Ask before production traffic moves.

    Raises:
        UsageError: Nobody can be asked here.
    """
    if yes:
        return
    if output is Format.JSON or not sys.stdin.isatty():
        raise UsageError("this changes production traffic and nobody can be asked here", hint="Say --yes.")
    typer.confirm(question, abort=True)


def progress_console(output: Format) -> Console:
    """Where progress goes: the terminal, or standard error where standard output belongs to JSON."""
    return Console(stderr=output is Format.JSON, highlight=False)


def show(output: Format, envelope: Envelope, table: RenderableType) -> None:
    """Print a result in the form that was asked for."""
    if output is Format.JSON:
        envelope.print()
    else:
        Console(highlight=False).print(table)


def open_project(folder: Path | None) -> Project:
    """Read the project, and let its own folders be imported first."""
    from sluice.project.projects import read_project  # a fifth of a second that not every verb needs

    project = read_project(folder)
    project.put_first_on_path()
    return project


def facts(rows: Mapping[str, object]) -> RenderableType:
    """A two-column list of facts."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    return table
