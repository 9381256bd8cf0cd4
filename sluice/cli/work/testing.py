"""`sluice test LAYER`: run one test layer as the pipeline runs it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, progress_console, show


class Layer(StrEnum):
    """The four layers."""

    CODE = "code"
    DATA = "data"
    MODEL = "model"
    INTEGRATION = "integration"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test")(layer)


def layer(
    name: Annotated[Layer, typer.Argument(metavar="LAYER", help="code, data, model or integration.")],
    snapshot: Annotated[
        str, typer.Option(help="Path, URL or pattern of the training data; default: what sluice.toml names.")
    ] = "",
    model: Annotated[Path | None, typer.Option(help="A fitted model (joblib); default: train one now.")] = None,
    release: Annotated[
        str, typer.Option(help="champion, previous, a number or a digest; default: package the model that was tested last.")
    ] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show every check. By default, passed checks are only counted.")
    ] = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Run one test layer. The exit code is 4 if a check fails, or if one is inconclusive that may not be."""
    from sluice.checks.layers import PAGE_FILE, find_data_docs
    from sluice.errors import CheckFailedError
    from sluice.report.renderers.terminal import render_layer
    from sluice.steps.standalone.layers import check_layer

    project = open_project(project_folder)
    console = progress_console(output)
    with console.status(f"test layer {name.value} …") as status:
        result = check_layer(project, name.value, snapshot=snapshot, model=model, release=release, notify=status.update)
    values = result.to_dict()
    files = {"page": result.folder / PAGE_FILE} | {
        f"Data Docs, {page.parent.name}": page for page in find_data_docs(result.folder)
    }
    table = render_layer(values, verbose=verbose, files=files)
    show(output, Envelope(command="test", outcome=result.outcome.value, data=values), table)
    raise typer.Exit(0 if result.outcome.value == "pass" else CheckFailedError.exit_code)
