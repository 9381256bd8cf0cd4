"""`sluice run`: a pipeline of the project on the local engine, with its progress."""

from __future__ import annotations

import contextlib
import getpass
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from sluice.cli.options_and_output import (
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
from sluice.errors import InterruptedRunError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from sluice.project.projects import Project

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
        _tell_unchanged(output, pipeline, same, inputs, project)
        return
    console = progress_console(output)
    folder = engine.submit(pipeline, arguments)
    console.print(f"run [bold]{folder.name}[/] of pipeline [bold]{pipeline}[/], log in {folder / 'log.txt'}")
    try:
        follow(engine, folder, console, approver=approve, project=project)
    except KeyboardInterrupt:
        raise tell_interruption(project, folder) from None
    document = read_run(folder)
    show(output, Envelope(command="run", outcome=document["outcome"], data=document), _table(document, folder))
    raise typer.Exit(exit_code(document))


def follow(engine: Any, folder: Path, console: Console, *, approver: str, project: Project) -> None:  # noqa: ANN401
    """Print each step's end as it comes; answer the approval when it is waited for."""
    started: dict[str, float] = {}
    with console.status("starting …") as status, contextlib.closing(engine.watch(folder)) as events:
        for event in events:
            name = event["step"]
            if event["event"] == "started":
                started[name] = event["time"]
                status.update(f"{name} …")
            elif event["event"] == "waiting":
                status.update(f"{name}: {escape(event['detail'])}")
                if name == "approval":
                    status.stop()
                    answer_approval(project, folder, console, approver=approver)
                    status.start()
                elif not console.is_terminal:  # nothing moves there that would show it
                    console.print(f"  [dim]… {name}: {escape(event['detail'])}[/]")
            else:
                seconds = event["time"] - started.get(name, event["time"])
                console.print(
                    f"  {SIGNS.get(event['outcome'], '•')} {name:<18} [dim]{seconds:5.1f} s[/]  {escape(event['detail'])}"
                )


def tell_interruption(project: Project, folder: Path) -> InterruptedRunError:
    """What ctrl-C has ended, and what it has not: a rollout that has begun is the supervisor's."""
    from sluice.rollout.requests.statuses import read_status

    target = read_status(project).target
    if target is None or target != (_read_release(folder) or {}).get("digest"):
        return InterruptedRunError("interrupted", hint="Nothing is half-written; run the command again.")
    return InterruptedRunError(
        "interrupted; the rollout that this run began goes on without it, and the canary may take live traffic",
        hint="`sluice rollout status` shows it, `sluice rollout abort` ends it: all traffic back to stable.",
    )


def _read_release(folder: Path) -> dict[str, Any] | None:
    """The release that a run has packaged; None before."""
    try:
        release: dict[str, Any] = json.loads((folder / "parts" / "release.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return release


def answer_approval(project: Project, folder: Path, console: Console, *, approver: str) -> None:
    """Approve in the given name, do what the person at the terminal says, or say how to approve from elsewhere."""
    from sluice.rollout.requests import approvals
    from sluice.steps.records import record_refusal

    release = _read_release(folder) or {}
    if not approver and sys.stdin.isatty() and (said := _ask(release["number"], console)) is not None:
        if not said:
            record_refusal(folder, getpass.getuser())
            return
        approver = getpass.getuser()
    if approver:
        approvals.approve(project, release["digest"], by=approver, note="sluice run")
    else:
        console.print(f"  [yellow]…[/] waits for [bold]sluice rollout approve {release['number']}[/] from another terminal")


def _ask(number: int, console: Console) -> bool | None:
    """Yes, no, or None where the terminal went away."""
    from rich.prompt import Confirm

    try:
        return Confirm.ask(f"Put release {number} before production traffic?", console=console)
    except EOFError:
        return None


def exit_code(document: dict[str, Any]) -> int:
    """The documented exit code of a run that has ended."""
    if document["outcome"] in EXIT_CODES:
        return EXIT_CODES[document["outcome"]]
    codes = [step["exit_code"] for step in document.get("steps", []) if "exit_code" in step]
    return int(codes[0]) if codes else 1


def _tell_unchanged(output: Format, pipeline: str, same: dict[str, Any] | None, inputs: str, project: Project) -> None:
    if same is not None:
        left = _find_left(project, same)
        data = {"inputs": inputs, "run": same["id"], "last_outcome": same["outcome"], "replaced": left is not None}
        rows = {"unchanged": f"run {same['id']} had the same inputs and ended {same['outcome']}"}
        if left is not None:
            rows["but"] = f"its release {left} is no longer champion: production was taken back or moved on since"
            rows["it again"] = f"sluice rollout start {left}, then sluice rollout approve {left}"
        rows["all again"] = f"sluice run {pipeline} --force"
        show(output, Envelope(command="run", outcome="unchanged", data=data), facts(rows))
    else:
        table = facts({"would run": pipeline, "inputs": inputs})
        show(output, Envelope(command="run", outcome="would-run", data={"inputs": inputs, "pipeline": pipeline}), table)


def _find_left(project: Project, same: dict[str, Any]) -> int | None:
    """Number of the release that a run promoted, where it has lost production since; None where it has not."""
    from sluice.rollout.requests.statuses import read_status

    release = same.get("release") or {}
    if same["outcome"] != "promoted" or read_status(project).champion == release.get("digest"):
        return None
    return int(release["number"])


def _table(document: dict[str, Any], folder: Path) -> Any:  # noqa: ANN401
    rows: dict[str, object] = {"outcome": document["outcome"], "reason": document["reason"]}
    if document.get("release"):
        rows["release"] = f"{document['release']['number']}  {document['release']['digest']}"
    failed = next((step for step in document.get("steps", []) if step["outcome"] == "fail"), None)
    if failed and failed.get("hint"):
        rows["next"] = failed["hint"]
    return facts(rows | {"records": folder})
