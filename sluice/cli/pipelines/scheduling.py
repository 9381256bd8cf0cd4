"""`sluice schedule`: the project's recurring run on Argo or KFP."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from sluice.cli.options_and_output import (
    WIDE,
    DryRunOption,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    YesOption,
    confirm,
    facts,
    open_project,
    show,
)
from sluice.cli.pipelines.submitting import EngineOption

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.cli.options_and_output import EngineName
    from sluice.engines import Engine
    from sluice.project.projects import Project

app = typer.Typer(help=r"Start a pipeline again and again, as \[schedule] in sluice.toml says.", no_args_is_help=True)


def _open(folder: Path | None, engine_name: EngineName | None) -> tuple[Project, Engine]:
    from sluice.engines.selection import open_engine

    project = open_project(folder)
    return project, open_engine(project, engine_name.value if engine_name else "")


@app.command("apply")
def apply(
    engine_name: EngineOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Create the project's schedule, or change it in place. A project has one schedule, and a paused one stays paused."""
    from sluice.engines.schedule_plans import read_plan

    project, engine = _open(project_folder, engine_name)
    plan = read_plan(project)
    outcome = "would-apply" if dry_run else engine.schedule_apply(plan)
    rows = {"schedule": outcome, "pipeline": plan.pipeline, "cron": f"{plan.cron} ({plan.timezone})", "engine": engine.name}
    show(output, Envelope("schedule apply", outcome, dataclasses.asdict(plan) | {"engine": engine.name}), facts(rows))


@app.command("list")
def list_(engine_name: EngineOption = None, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show the project's schedule, its last and next start, and a start that was missed."""
    from rich.markup import escape
    from rich.table import Table

    _, engine = _open(project_folder, engine_name)
    found = engine.schedule_list()
    table = Table("schedule", "engine", "pipeline", "cron", "state", "last start", "next start", box=None, pad_edge=False)
    for each in found:
        state = "paused" if each.paused else "active"
        cells = (each.id, each.engine, each.pipeline, f"{each.cron} ({each.timezone or 'time zone of the controller'})", state)
        table.add_row(*map(escape, cells), _time(each.last), _time(each.next))
        if each.missed:
            table.add_row("", "", "", f"[red]{escape(each.missed)}[/]")
    outcome = "missed" if any(each.missed for each in found) else "listed"
    data = {"engine": engine.name, "schedules": [dataclasses.asdict(each) for each in found]}
    show(output, Envelope("schedule list", outcome, data), table if found else _say_none(engine.name), width=WIDE)


def _say_none(engine: str) -> str:
    """Say which engine was asked: the project may have a schedule on another one."""
    if engine == "local":
        return "The engine local has no schedules. --engine argo or --engine kfp names an engine that can have one."
    return f"The project has no schedule on the engine {engine}. `sluice schedule apply --engine {engine}` creates it."


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else "none"


@app.command("pause")
def pause(engine_name: EngineOption = None, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Start no more runs until `sluice schedule resume`. A run that has started goes on."""
    _switch("pause", _open(project_folder, engine_name)[1], output, paused=True)


@app.command("resume")
def resume(engine_name: EngineOption = None, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Start runs again. Starts that were missed in the meantime are not made up for."""
    _switch("resume", _open(project_folder, engine_name)[1], output, paused=False)


def _switch(command: str, engine: Engine, output: Format, *, paused: bool) -> None:
    outcome = engine.schedule_pause(paused=paused)
    rows = {"schedule": outcome, "state": "paused" if paused else "active"}
    show(output, Envelope(f"schedule {command}", outcome, {"engine": engine.name, "paused": paused}), facts(rows))


@app.command("remove")
def remove(
    yes: YesOption = False,
    engine_name: EngineOption = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Delete the project's schedule. On Argo its runs stay; KFP deletes them too."""
    _, engine = _open(project_folder, engine_name)
    confirm(yes, output, "Delete the project's schedule?", change="deletes the schedule")
    outcome = engine.schedule_remove()
    show(output, Envelope("schedule remove", outcome, {"engine": engine.name}), facts({"schedule": outcome}))
