"""`sluice monitor`: watch the requests of production, and start a retraining when they have drifted."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.options_and_output import Format, OutputOption, ProjectOption, open_project, progress_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("monitor")(monitor)


def monitor(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the service; default: monitor.port; 0 chooses a free port.")
    ] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Count the requests of production, compare them with the champion's reference, and start a retraining on drift."""
    from sluice.triggers.monitor.app import run_monitor

    project = open_project(project_folder)
    run_monitor(project, port, notify=progress_console(output).print)
