"""`sluice drift`: compare the features of two snapshots."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, show
from sluice.errors import CheckFailedError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift")(drift)


def drift(
    reference: Annotated[str, typer.Option(help="Path or URL of the snapshot at training; default: data.snapshot.")] = "",
    current: Annotated[str, typer.Option(help="Path or URL of the present snapshot; default: data.snapshot.")] = "",
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Compare two snapshots by the population stability index. The exit code is 4 if a feature has drifted."""
    from rich.table import Table

    from sluice.steps.drift import compare_sources

    result = compare_sources(open_project(project_folder), reference, current)
    table = Table("feature", "PSI", "adjusted p", "missing", "new", "", box=None, pad_edge=False, caption=result.detail)
    for name, feature in result.features.items():
        estimate = feature.estimate
        status = "[red]drifted[/]" if feature.drifted else "" if feature.conclusive else "too few rows"
        numbers = (f"{estimate.psi:.3f}", f"{feature.adjusted_p:.2g}", f"{estimate.missing:.1%}", f"{estimate.new:.1%}")
        table.add_row(name, *numbers, status)
    for name, reason in result.left_out.items():
        table.add_row(f"[dim]{name}[/]", "", "", "", "", f"[dim]left out: {reason}[/]")
    show(output, Envelope("drift", "drifted" if result.drifted else "steady", result.to_dict()), table)
    if result.drifted:
        raise typer.Exit(CheckFailedError.exit_code)
