"""What all commands share: the common options, the output formats and the JSON envelope."""

from __future__ import annotations

import dataclasses
import getpass
import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sluice.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import RenderableType

    from sluice.errors import SluiceError
    from sluice.project.projects import Project

SCHEMA = "sluice/v1"
WIDE = 130
"""Width in characters of a table with ids and links, where the output is no terminal. They are not broken there."""


class Format(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


class EngineName(StrEnum):
    """Where a pipeline runs."""

    LOCAL = "local"
    ARGO = "argo"
    KFP = "kfp"


OutputOption = Annotated[
    Format, typer.Option("--output", help="table is for people. json is for programs: it prints one envelope and nothing else.")
]
ProjectOption = Annotated[
    Path | None, typer.Option("--project", help="Folder of the project; default: the nearest folder upwards with a sluice.toml.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what the command would do, and change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The JSON that a command prints: ``{schema, command, outcome, data, error}``."""

    command: str
    outcome: str
    data: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None

    def with_error(self, error: SluiceError) -> Envelope:
        """Return a copy of the envelope with an error."""
        return dataclasses.replace(self, error={"message": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def print(self) -> None:
        """Write the envelope to standard output, and nothing else."""
        document = {"schema": SCHEMA, **dataclasses.asdict(self)}
        sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def wants_json(arguments: list[str]) -> bool:
    """Return whether the arguments ask for JSON. They are not parsed for this, because the parsing itself may fail."""
    return ("--output", "json") in itertools.pairwise(arguments) or "--output=json" in arguments


def name_command(arguments: list[str], groups: Mapping[str, Collection[str]]) -> str:
    """Return the name of the command as its envelope has it, for example ``rollout start``.

    The arguments are not parsed for this, because the parsing itself may fail.

    Args:
        arguments: The command line without the name of the program.
        groups: Name of each group of commands → the names of its commands.
    """
    words = [word for word in arguments if not word.startswith("-")]
    return " ".join(words[: 2 if words[1:] and words[1] in groups.get(words[0], ()) else 1])


def confirm(yes: bool, output: Format, question: str, *, change: str = "changes production traffic") -> None:
    """Ask for confirmation before production traffic moves, or before another change that cannot be taken back.

    Args:
        yes: Whether the person has confirmed already.
        output: The format of the output. A program cannot answer a question.
        question: The question.
        change: What the command does, as a predicate for the error.

    Raises:
        UsageError: There is no terminal at which a person could answer.
    """
    if yes:
        return
    if output is Format.JSON or not sys.stdin.isatty():
        raise UsageError(f"this command {change}, and there is no terminal for the confirmation", hint="Add --yes.")
    typer.confirm(question, abort=True)


def name_person(name: str) -> str:
    """Return the name that a command was given; if it is empty, that of the user of this machine."""
    return name or getpass.getuser()


def progress_console(output: Format) -> Console:
    """Return the console for progress messages: standard error if standard output is for JSON, otherwise the terminal."""
    return Console(stderr=output is Format.JSON, highlight=False)


def show(output: Format, envelope: Envelope, table: RenderableType, *, width: int | None = None) -> None:
    """Print a result in the requested format.

    Args:
        output: The format.
        envelope: The result as JSON.
        table: The result for people.
        width: Width in characters where the output is no terminal.
    """
    if output is Format.JSON:
        envelope.print()
        return
    console = Console(highlight=False)
    if width and not console.is_terminal:
        console = Console(highlight=False, width=width)
    console.print(table)


def open_project(folder: Path | None) -> Project:
    """Read the project, and let imports find its own folders first."""
    from sluice.project.projects import read_project  # takes 0.2 s, which not every command needs

    project = read_project(folder)
    project.put_first_on_path()
    return project


def facts(rows: Mapping[str, object] | Sequence[tuple[str, object]]) -> RenderableType:
    """Return a table of two columns: names and values. A sequence of pairs may have the same name more than once."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items() if isinstance(rows, Mapping) else rows:
        table.add_row(name, escape(str(value)))
    return table
