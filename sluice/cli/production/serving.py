"""`sluice serve`: run the supervisor in the foreground until ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.options_and_output import Format, OutputOption, ProjectOption, open_project, progress_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the proxy; default: serving.port; 0 chooses a free port.")
    ] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Serve champion, N-1 and canary behind one Envoy and run the control rounds, until ctrl-C."""
    from sluice.rollout.platforms.laptop.supervisor import run_supervisor

    project = open_project(project_folder)
    console = progress_console(output)
    run_supervisor(project, port=port, notify=console.print)
