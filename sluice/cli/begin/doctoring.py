"""`sluice doctor`: check that everything is there that a run needs, and say how to fix what is missing."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.options_and_output import EngineName, Envelope, Format, OutputOption, ProjectOption, open_project, show
from sluice.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from sluice.doctor.findings import Finding


class Platform(StrEnum):
    """The platform to look at."""

    LAPTOP = "laptop"
    SELDON = "seldon"


_MARKS = {"pass": "[green]✓[/]", "note": "[yellow]•[/]", "fail": "[red]✗[/]"}


def register(app: typer.Typer) -> None:
    """Add the command `doctor`."""
    app.command("doctor")(doctor)


def doctor(
    engine: Annotated[EngineName | None, typer.Option(help="Engine to look at; default: engines.default.")] = None,
    platform: Annotated[Platform | None, typer.Option(help="Platform to look at; default: that of rollout.splitter.")] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Check that everything is there that a run needs, and say how to fix what is missing."""
    from sluice.doctor.examination import examine

    project = open_project(project_folder)
    chosen = engine.value if engine else project.settings.engines.default
    place = platform.value if platform else "seldon" if project.settings.rollout.in_cluster else "laptop"
    findings = examine(project, engine=chosen, platform=place)
    failed = [finding for finding in findings if finding.outcome == "fail"]
    data = {"engine": chosen, "platform": place, "findings": [dataclasses.asdict(finding) for finding in findings]}
    show(output, Envelope("doctor", "failed" if failed else "ready", data), _table(findings))
    if failed:
        raise typer.Exit(RefusedError.exit_code)


def _table(findings: Sequence[Finding]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(_MARKS[finding.outcome], finding.subject, escape(finding.detail))
        if finding.fix:
            table.add_row("", "", f"[bold]fix:[/] {escape(finding.fix)}")
    return table
