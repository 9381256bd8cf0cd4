"""`sluice runs` and `sluice logs`: the runs of every engine, and what a person can do with one."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.options_and_output import (
    WIDE,
    EngineName,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    YesOption,
    confirm,
    facts,
    open_project,
    progress_console,
    show,
)
from sluice.cli.pipelines.submitting import EngineOption, ReportOption, describe, finish, list_facts

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from sluice.engines import Engine, RunSummary

app = typer.Typer(help="List the runs of every engine, and watch, cancel, retry or resume one.", invoke_without_command=True)
RunArgument = Annotated[str, typer.Argument(help="Id of the run, as `sluice runs` shows it.")]


def register(root: typer.Typer) -> None:
    """Add the command `logs`."""
    root.command("logs")(logs)


@app.callback()
def list_runs(
    context: typer.Context,
    engine_name: Annotated[EngineName | None, typer.Option("--engine", help="Only this engine; default: every engine.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of runs of each engine.")] = 10,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """List the runs of every engine, and watch, cancel, retry or resume one."""
    if context.invoked_subcommand is not None:
        return
    import dataclasses

    from sluice.engines.run_lists import list_all_runs

    found = list_all_runs(open_project(project_folder), engine_name.value if engine_name else "", limit)
    data = {"runs": [dataclasses.asdict(run) for run in found.runs], "unreachable": found.unreachable}
    table = _table(found.runs, found.unreachable)
    show(output, Envelope("runs", "listed", data), table, width=WIDE)


def _table(runs: tuple[RunSummary, ...], unreachable: dict[str, str]) -> RenderableType:
    from datetime import UTC, datetime

    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from sluice.engines.gate_answers import describe_gate

    table = Table(box=None, pad_edge=False)
    for name in ("run", "engine", "pipeline", "outcome", "release", "gate", "started (UTC)", "duration"):
        table.add_column(name, no_wrap=name in {"run", "outcome"}, overflow="fold")
    for run in runs:
        started = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M") if run.started else ""
        seconds = "" if run.seconds is None else f"{run.seconds:.0f} s"
        gate = describe_gate(run.gate, run.numbers)
        cells = (run.id, run.engine, run.pipeline, run.outcome.replace("_", " "), run.release, gate, started, seconds)
        table.add_row(*map(escape, cells))
    lines = [f"[dim]{name}: {escape(reason)}[/]" for name, reason in unreachable.items()]
    return Group(table if runs else "There are no runs.", *lines)


def _open(project_folder: Path | None, run: str, engine_name: EngineName | None) -> Engine:
    """Return the engine that has a run."""
    from sluice.engines.run_lists import find_engine

    return find_engine(open_project(project_folder), run, engine_name.value if engine_name else "")


@app.command("show")
def show_run(
    run: RunArgument, engine_name: EngineOption = None, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None
) -> None:
    """Show a run and its steps as they are now."""
    import time

    from rich.console import Group

    from sluice.cli.pipelines.run_trees import draw

    status = _open(project_folder, run, engine_name).read(run)
    rows: dict[str, object] = {name: text for name, text in (("reason", status.reason), ("next", status.hint)) if text}
    rows |= list_facts(status.summary) | ({"report": f"sluice report {run}"} if status.ended else {})
    table = Group(draw(status, now=time.time()), facts(rows))
    show(output, Envelope("runs show", status.summary.outcome, describe(status)), table, width=WIDE)


@app.command("watch")
def watch(
    run: RunArgument,
    report: ReportOption = None,
    engine_name: EngineOption = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Show the steps of a run until it ends, and exit by its outcome."""
    project, engine = open_project(project_folder), _open(project_folder, run, engine_name)
    finish(project, engine, run, output, command="runs watch", console=progress_console(output), report=report)


@app.command("cancel")
def cancel(
    run: RunArgument,
    yes: YesOption = False,
    engine_name: EngineOption = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """End a run. Its exit tasks still run. A rollout that has started goes on: `sluice rollout abort` ends it."""
    engine = _open(project_folder, run, engine_name)
    if engine.read(run).ended:
        _report("cancel", run, "unchanged", "it had ended before", output)
        return
    confirm(yes, output, f"End run {run}?", change="ends a run")
    engine.cancel(run)
    _report("cancel", run, "cancelled", f"sluice runs watch {run} shows its end", output)


@app.command("retry")
def retry(
    run: RunArgument, engine_name: EngineOption = None, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None
) -> None:
    """Run a failed run again from the steps that failed. The results of the other steps stay."""
    _open(project_folder, run, engine_name).retry(run)
    _report("retry", run, "retried", f"follow it: sluice runs watch {run}", output)


@app.command("resume")
def resume(
    run: RunArgument,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who answers; default: the user of this machine.")] = "",
    why: Annotated[str, typer.Option(help="Why.")] = "",
    yes: YesOption = False,
    engine_name: EngineOption = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Answer the step that a run waits at.

    On Argo the run goes on and requests the rollout of its release, which a person approves with `sluice rollout approve`. On the
    local engine, the release is approved.
    """
    engine = _open(project_folder, run, engine_name)
    release = engine.read(run).summary.release
    answer = _approval(run, release) if engine.resume_approves else _continuation(run, release)
    confirm(yes, output, answer.question, change=answer.change)
    step = engine.resume(run, by=by or getpass.getuser(), why=why)
    _report("resume", run, "resumed", f"the step {step} has its answer: {answer.effect}", output, answer.hint)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an answer to a waiting run means: the question before it, what it changes, what follows, and what is left to do."""

    question: str
    change: str
    effect: str
    hint: str = ""


def _approval(run: str, release: str) -> _Answer:
    named = f"release {release}" if release else "the release"
    question = f"Approve {named} of run {run} for production?"
    return _Answer(question, "approves a release for production", f"{named} is approved")


def _continuation(run: str, release: str) -> _Answer:
    named = f"release {release}" if release else "its release"
    return _Answer(
        f"Let run {run} go on, so that it requests the rollout of {named}? This does not approve the rollout.",
        "lets a run request a rollout",
        f"the run goes on and requests the rollout of {named}",
        f"`sluice rollout approve {release or 'RELEASE'}`, by a person with the Role sluice-approver, unless that was done",
    )


def _report(command: str, run: str, outcome: str, detail: str, output: Format, hint: str = "") -> None:
    following = {"next": hint} if hint else {}
    data: dict[str, Any] = {"run": run, "detail": detail, **following}
    show(output, Envelope(f"runs {command}", outcome, data), facts({"run": run, outcome: detail, **following}))


def logs(
    run: RunArgument,
    step: Annotated[str, typer.Argument(help="Name of a step; default: all steps.")] = "",
    engine_name: EngineOption = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Print what a step of a run printed, on any engine."""
    lines = _open(project_folder, run, engine_name).logs(run, step)
    if output is Format.JSON:
        Envelope("logs", "listed", {"run": run, "step": step, "lines": list(lines)}).print()
        return
    for line in lines:
        typer.echo(line)
