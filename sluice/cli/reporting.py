"""`sluice report`: runs as one self-contained page, as Markdown or as JUnit XML."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, facts, open_project, show


class Kind(StrEnum):
    """What to write."""

    HTML = "html"
    MARKDOWN = "markdown"
    JUNIT = "junit"


FILES = {Kind.HTML: "report.html", Kind.MARKDOWN: "report.md", Kind.JUNIT: "report.xml"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report")(report)


def report(
    runs: Annotated[list[str] | None, typer.Argument(help="Ids of runs; default: the last one.")] = None,
    kind: Annotated[Kind, typer.Option("--format", help="html, markdown or junit.")] = Kind.HTML,
    file: Annotated[
        Path | None, typer.Option("-o", help="Where to write; default: report.html, .md or .xml in the working directory.")
    ] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Write what happened in one or more runs, with every number and its interval."""
    from sluice.engines.reports import report_runs, write_report

    project = open_project(project_folder)
    target = file or Path(FILES[kind])
    document = report_runs(project, runs or [])
    write_report(document, kind.value, target)
    data = {"file": str(target), "format": kind.value, "runs": [act.run.id for act in document.acts]}
    show(output, Envelope("report", "done", data), facts({"written": target, "runs": ", ".join(data["runs"])}))
