"""`sluice report`: write a report of runs as a self-contained HTML page, as Markdown or as JUnit XML."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.options_and_output import EngineName, Envelope, Format, OutputOption, ProjectOption, facts, open_project, show
from sluice.errors import UsageError


class Kind(StrEnum):
    """The form of the report."""

    HTML = "html"
    MARKDOWN = "markdown"
    JUNIT = "junit"


FILES = {Kind.HTML: "report.html", Kind.MARKDOWN: "report.md", Kind.JUNIT: "report.xml"}


def register(app: typer.Typer) -> None:
    """Add the command `report`."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Ids of runs of any engine. Default: the last run of this machine or of --engine.")
    ] = None,
    kind: Annotated[Kind, typer.Option("--format", help="The form: html, markdown or junit.")] = Kind.HTML,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Report `sluice test` and `sluice gate preview | ask` instead of runs, for a job of CI."),
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("-o", help="File to write. Default: report.html, report.md or report.xml in the working directory."),
    ] = None,
    engine_name: Annotated[
        EngineName | None, typer.Option("--engine", help="Engine of the runs. Default: each id is looked for on every engine.")
    ] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Write a report of one or more runs, with every number and its interval."""
    from sluice.engines.run_reports import report_layers, report_runs, write_report

    project = open_project(project_folder)
    target = file or Path(FILES[kind])
    engine = engine_name.value if engine_name else ""
    if layers and runs:
        raise UsageError("--layers reports no runs", hint="Remove the ids of the runs, or remove --layers.")
    document = report_layers(project) if layers else report_runs(project, runs or [], engine)
    write_report(document, kind.value, target)
    data = {"file": str(target), "format": kind.value, "runs": [act.run.id for act in document.acts]}
    show(output, Envelope("report", "done", data), facts({"written": target, "runs": ", ".join(data["runs"])}))
