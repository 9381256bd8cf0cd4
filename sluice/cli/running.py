"""`sluice run`: a pipeline of the project on the local engine, with its progress."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from sluice.cli.surface import (
    DryRunOption,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    facts,
    open_project,
    progress_console,
    show,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from sluice.project import Project

EXIT_CODES = {"promoted": 0, "kept": 0, "passed": 0, "unchanged": 0, "rejected": 4, "rolled_back": 6, "interrupted": 130}
SIGNS = {"pass": "[green]✓[/]", "fail": "[red]✗[/]", "skipped": "[dim]-[/]"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run")(run)


def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline under [pipelines] of sluice.toml.")] = "release",
    snapshot: Annotated[str, typer.Option(help="Path or URL of the training data; default: data.snapshot.")] = "",
    approve: Annotated[str, typer.Option(metavar="NAME", help="Approve the release in this name, without asking.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Run although nothing has changed since the last good run.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Run a pipeline here: commit → four test layers → gate → release → approval → canary."""
    from sluice.engines.local import LocalEngine, check_pipeline
    from sluice.engines.runs import find_unchanged, inputs_digest, read_run

    project = open_project(project_folder)
    arguments = {"snapshot": snapshot}
    engine = LocalEngine(project)
    check_pipeline(project, pipeline)
    inputs = inputs_digest(project, pipeline, arguments)
    same = None if force else find_unchanged(project, inputs)
    if same is not None or dry_run:
        _tell_unchanged(output, pipeline, same, inputs)
        return
    console = progress_console(output)
    folder = engine.submit(pipeline, arguments)
    console.print(f"run [bold]{folder.name}[/] of pipeline [bold]{pipeline}[/], log in {folder / 'log.txt'}")
    follow(engine, folder, console, approver=approve, project=project)
    document = read_run(folder)
    show(output, Envelope(command="run", outcome=document["outcome"], data=document), _table(document, folder))
    raise typer.Exit(exit_code(document))


def follow(engine: Any, folder: Path, console: Console, *, approver: str, project: Project) -> None:  # noqa: ANN401
    """Print each step's end as it comes; answer the approval when it is waited for."""
    started: dict[str, float] = {}
    with console.status("starting …") as status:
        for event in engine.watch(folder):
            name = event["step"]
            if event["event"] == "started":
                started[name] = event["time"]
                status.update(f"{name} …")
            elif event["event"] == "waiting":
                status.update(f"{name}: {event['detail']}")
                if name == "approval":
                    status.stop()
                    answer_approval(project, folder, console, approver=approver)
                    status.start()
            else:
                seconds = event["time"] - started.get(name, event["time"])
                console.print(
                    f"  {SIGNS.get(event['outcome'], '•')} {name:<18} [dim]{seconds:5.1f} s[/]  {escape(event['detail'])}"
                )


def answer_approval(project: Project, folder: Path, console: Console, *, approver: str) -> None:
    """Approve in the given name, ask the person at the terminal, or say how to approve from elsewhere."""
    import json

    from rich.prompt import Confirm

    from sluice.rollout import requests

    release = json.loads((folder / "parts" / "release.json").read_text(encoding="utf-8"))
    if (
        not approver
        and sys.stdin.isatty()
        and Confirm.ask(f"Put release {release['number']} before production traffic?", console=console)
    ):
        approver = getpass.getuser()
    if approver:
        requests.approve(project, release["digest"], by=approver, note="sluice run")
    else:
        console.print(f"  [yellow]…[/] waits for [bold]sluice rollout approve {release['number']}[/] from another terminal")


def exit_code(document: dict[str, Any]) -> int:
    """The documented exit code of a run that has ended."""
    if document["outcome"] in EXIT_CODES:
        return EXIT_CODES[document["outcome"]]
    codes = [step["exit_code"] for step in document.get("steps", []) if "exit_code" in step]
    return int(codes[0]) if codes else 1


def _tell_unchanged(output: Format, pipeline: str, same: dict[str, Any] | None, inputs: str) -> None:
    if same is not None:
        data = {"inputs": inputs, "run": same["id"], "last_outcome": same["outcome"]}
        table = facts(
            {"unchanged": f"run {same['id']} had the same inputs and ended {same['outcome']}", "again": "sluice run --force"}
        )
        show(output, Envelope(command="run", outcome="unchanged", data=data), table)
    else:
        table = facts({"would run": pipeline, "inputs": inputs})
        show(output, Envelope(command="run", outcome="would-run", data={"inputs": inputs, "pipeline": pipeline}), table)


def _table(document: dict[str, Any], folder: Path) -> Any:  # noqa: ANN401
    rows: dict[str, object] = {"outcome": document["outcome"], "reason": document["reason"]}
    if document.get("release"):
        rows["release"] = f"{document['release']['number']}  {document['release']['digest']}"
    failed = next((step for step in document.get("steps", []) if step["outcome"] == "fail"), None)
    if failed and failed.get("hint"):
        rows["next"] = failed["hint"]
    return facts(rows | {"records": folder})
