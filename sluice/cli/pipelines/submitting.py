"""`sluice submit`: start a pipeline on an engine, and watch it if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.options_and_output import (
    WIDE,
    DryRunOption,
    EngineName,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    facts,
    open_project,
    progress_console,
    show,
)
from sluice.errors import InterruptedRunError, SluiceError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from sluice.engines import Engine, RunStatus, RunSummary
    from sluice.project.projects import Project


EngineOption = Annotated[EngineName | None, typer.Option("--engine", help="local, argo or kfp; default: engines.default.")]


ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write the report of the run when it has ended: HTML, or Markdown (.md) or JUnit XML (.xml).",
    ),
]

KFP_REPORT = Path("report.html")
"""Where the report of a run on KFP goes that is watched to its end, if no other file is named."""

_KINDS = {".md": "markdown", ".xml": "junit"}


def register(app: typer.Typer) -> None:
    """Add the command `submit`."""
    app.command("submit")(submit)


def submit(
    pipeline: Annotated[str, typer.Argument(help=r"Name of a pipeline under \[pipelines] in sluice.toml.")] = "release",
    engine_name: EngineOption = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="Argument of the pipeline. The option may be repeated."),
    ] = None,
    key: Annotated[str, typer.Option(help="Idempotency key: a second submit with the same key starts nothing.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show the steps until the run ends, and exit by its outcome.")] = False,
    report: ReportOption = None,
    force: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields of the WorkflowTemplate that another tool owns (argo).")
    ] = False,
    no_start: Annotated[
        bool,
        typer.Option("--no-start", help="Only bring the pipeline to the engine, for schedules and services that start it later."),
    ] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Start a pipeline in a cluster: bring it to the engine if it has changed, and start a run.

    If a run on Kubeflow Pipelines is watched, its report is written to report.html at the end.
    """
    from sluice.engines.arguments import check_arguments, parse_arguments
    from sluice.engines.selection import open_engine
    from sluice.engines.sources import read_source

    project = open_project(project_folder)
    engine = open_engine(project, engine_name.value if engine_name else "")
    watched = watch or engine.name == "local"  # a local run ends with the process that started it
    if no_start and (engine.name == "local" or arguments or key or watch):
        raise UsageError(
            "--no-start only brings the pipeline to a cluster, so it goes with no argument, key or --watch, and not with local",
            hint="Leave --no-start out to start a run.",
        )
    if report and not watched:
        raise UsageError("--report needs --watch", hint="Add --watch, or run `sluice report RUN` when the run has ended.")
    _, graph = read_source(pipeline, project)
    given = parse_arguments(graph, arguments or [])
    check_arguments(graph, given)
    console = progress_console(output)
    prepared = engine.prepare(pipeline, force=force, dry_run=dry_run)
    if prepared:
        console.print(prepared, soft_wrap=True)
    if dry_run:
        data: dict[str, Any] = {"engine": engine.name, "pipeline": pipeline, "arguments": given, "prepared": prepared}
        show(
            output,
            Envelope("submit", "would-submit", data),
            facts({"would submit": pipeline, "to": engine.name, "arguments": given}),
        )
        return
    if no_start:
        brought = {"engine": engine.name, "pipeline": pipeline, "prepared": prepared}
        show(
            output,
            Envelope("submit", "prepared", brought),
            facts({"pipeline": pipeline, "engine": engine.name, "started": "nothing"}),
        )
        return
    run = engine.submit(pipeline, given, key=key)
    if watched:
        target = report or (KFP_REPORT if engine.name == EngineName.KFP else None)
        finish(project, engine, run, output, command="submit", console=console, report=target)
    status = engine.read(run)
    rows = {"run": run, "engine": engine.name, "page": status.summary.url or "none", "follow it": f"sluice runs watch {run}"}
    show(output, Envelope("submit", "submitted", describe(status) | {"prepared": prepared}), facts(rows), width=WIDE)


def finish(
    project: Project, engine: Engine, run: str, output: Format, *, command: str, console: Console, report: Path | None = None
) -> None:
    """Watch a run until it ends, write its report if a file is given, print its result, and exit by its outcome.

    Raises:
        InterruptedRunError: Ctrl-C ended the watching. A run in a cluster goes on.
    """
    from sluice.cli.pipelines.run_trees import follow

    try:
        status = follow(engine, run, console)
    except KeyboardInterrupt:
        hint = "The run has ended." if engine.name == "local" else f"The run goes on. `sluice runs cancel {run}` ends it."
        raise InterruptedRunError("interrupted", hint=hint) from None
    summary = status.summary
    rows: dict[str, object] = {"outcome": summary.outcome, "reason": status.reason}
    rows |= list_facts(summary) | ({"next": status.hint} if status.hint else {})
    written = _write_report(project, engine, run, report) if report else ""
    rows |= {"report": written} if written else {}
    data = describe(status) | ({"report": str(report)} if report else {})
    show(output, Envelope(command, summary.outcome, data), facts(rows | {"log": f"sluice logs {run}"}), width=WIDE)
    if status.exit_code == InterruptedRunError.exit_code:
        raise SystemExit(
            status.exit_code
        )  # `main` takes this code of typer for ctrl-C, and would print an error after the result
    raise typer.Exit(status.exit_code)


def list_facts(summary: RunSummary) -> dict[str, object]:
    """Return what a run has brought about, as far as it is known: the gate's answer, the release and the run's page."""
    from sluice.engines.gate_answers import describe_gate

    known = {"gate": describe_gate(summary.gate, summary.numbers), "release": summary.release, "page": summary.url}
    return {name: text for name, text in known.items() if text}


def _write_report(project: Project, engine: Engine, run: str, file: Path) -> str:
    """Write the report of a run, and return the file; or why there is none, because the run's outcome must be shown anyway."""
    from sluice.engines.run_reports import report_engine_runs, write_report

    try:
        write_report(report_engine_runs(project, [(engine, run)]), _KINDS.get(file.suffix, "html"), file)
    except SluiceError as error:
        return f"not written: {error.message}. Try again: sluice report {run}"
    return str(file)


def describe(status: RunStatus) -> dict[str, Any]:
    """Return a run as plain JSON types."""
    import dataclasses

    document = dataclasses.asdict(status)
    return {**document.pop("summary"), **document}
