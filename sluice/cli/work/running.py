"""`sluice run`: run a pipeline of the project on the local engine, and show its progress."""

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

OUTCOME_MARKS = {"pass": "[green]✓[/]", "fail": "[red]✗[/]", "skipped": "[dim]-[/]"}


def register(app: typer.Typer) -> None:
    """Add the command `run`."""
    app.command("run")(run)


def run(
    pipeline: Annotated[str, typer.Argument(help=r"Name of a pipeline under \[pipelines] in sluice.toml.")] = "release",
    snapshot: Annotated[
        str, typer.Option(help="Path, URL or pattern of the training data. Default: what sluice.toml names.")
    ] = "",
    approve: Annotated[str, typer.Option(metavar="NAME", help="Approve the release in this name without asking.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Run even if nothing has changed since the last successful run.")
    ] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Run a pipeline on this machine: four test layers → gate → release → approval → canary."""
    from sluice.engines.local.engine import LocalEngine
    from sluice.engines.local.runs import find_run_with_same_inputs, inputs_digest, read_run
    from sluice.engines.outcomes import exit_code_of
    from sluice.engines.sources import check_pipeline

    project = open_project(project_folder)
    arguments = {"snapshot": snapshot}
    engine = LocalEngine(project)
    check_pipeline(project, pipeline)
    inputs = inputs_digest(project, pipeline, arguments)
    earlier = None if force else find_run_with_same_inputs(project, inputs)
    if earlier is not None or dry_run:
        _show_unchanged(output, pipeline, earlier, inputs, project)
        return
    console = progress_console(output)
    run_id = engine.submit(pipeline, arguments)
    folder = engine.folder(run_id)
    console.print(f"run [bold]{run_id}[/] of pipeline [bold]{pipeline}[/]; its log is {folder / 'log.txt'}")
    try:
        show_progress(engine, folder, console, approver=approve, project=project)
    except KeyboardInterrupt:
        raise explain_interruption(project, folder) from None
    document = read_run(folder)
    show(output, Envelope(command="run", outcome=document["outcome"], data=document), _table(document, folder))
    raise typer.Exit(exit_code_of(document["outcome"], document.get("steps", [])))


def show_progress(engine: Any, folder: Path, console: Console, *, approver: str, project: Project) -> None:  # noqa: ANN401
    """Print the end of each step, and handle the approval when the run waits for it."""
    started: dict[str, float] = {}
    with console.status("starting …") as status, contextlib.closing(engine.events(folder.name)) as events:
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
                elif not console.is_terminal:  # the status line above is shown only on a terminal
                    console.print(f"  [dim]… {name}: {escape(event['detail'])}[/]")
            else:
                seconds = event["time"] - started.get(name, event["time"])
                console.print(
                    f"  {OUTCOME_MARKS.get(event['outcome'], '•')} {name:<18} [dim]{seconds:5.1f} s[/]  {escape(event['detail'])}"
                )


def explain_interruption(project: Project, folder: Path) -> InterruptedRunError:
    """Return the error that says what Ctrl-C has ended. A rollout that has begun continues, because the supervisor runs it."""
    from sluice.rollout.requests.statuses import read_status

    now = read_status(project)
    target = now.target
    if target is None or target != (_read_release(folder) or {}).get("digest"):
        return InterruptedRunError("interrupted", hint="No file was left half-written. Run the command again.")
    return InterruptedRunError(
        "interrupted, but the rollout that this run started continues, and the canary may get live traffic",
        hint="`sluice rollout status` shows the rollout. `sluice rollout abort` ends it"
        + (" and gives all traffic to stable." if now.champion else "."),
    )


def _read_release(folder: Path) -> dict[str, Any] | None:
    """Return the release that a run has packaged; None if it has not packaged one yet."""
    try:
        release: dict[str, Any] = json.loads((folder / "parts" / "release.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return release


def answer_approval(project: Project, folder: Path, console: Console, *, approver: str) -> None:
    """Approve in the given name, ask the person at the terminal, or print how to approve from another terminal."""
    from sluice.rollout.requests import approvals
    from sluice.rollout.requests.admission import describe_override
    from sluice.steps.records import read_warnings, record_rejection

    release = _read_release(folder) or {}
    for warning in read_warnings(folder):
        console.print(f"  [yellow]! warning[/] {escape(warning['text'])}. {escape(warning['hint'])}")
    if overridden := describe_override(release.get("manifest") or {}):
        console.print(f"  [yellow]![/] {escape(overridden)}")
    _show_condemnation(project, release["digest"], console)
    _show_expected_time(project, release["digest"], console)
    in_cluster = project.settings.rollout.in_cluster  # there, nobody approves the request of their own account
    if not approver and not in_cluster and sys.stdin.isatty() and (approved := _ask(release["number"], console)) is not None:
        if not approved:
            record_rejection(folder, getpass.getuser())
            return
        approver = getpass.getuser()
    if approver:
        approvals.approve(project, release["digest"], by=approver, note="sluice run")
    else:
        where = "by another account, which has the Role sluice-approver" if in_cluster else "in another terminal"
        console.print(f"  [yellow]…[/] waiting for [bold]sluice rollout approve {release['number']}[/] {where}")


def _show_condemnation(project: Project, digest: str, console: Console) -> None:
    """Print when and why a release was condemned, and why it was started again; nothing if it is not condemned."""
    from sluice.rollout.requests.condemnations import read_condemnation

    if condemned := read_condemnation(project, digest):
        console.print(f"  [yellow]![/] {escape(condemned)}")


def _show_expected_time(project: Project, digest: str, console: Console) -> None:
    """Print how long each step of the rollout will take with the measured traffic, or why that is not known."""
    from sluice.errors import StateError
    from sluice.rollout.platforms.selection import open_journal
    from sluice.rollout.requests import step_shares

    journal = open_journal(project).read()
    if journal.champion is None:
        return
    try:
        lines = step_shares.describe_steps(project, step_shares.find_steps(project, journal, digest))
    except StateError as error:
        lines = [str(error)]
    for line in lines:
        console.print(f"    [dim]{line}[/]", highlight=False)


def _ask(number: int, console: Console) -> bool | None:
    """Ask the person at the terminal; return None if the terminal was closed."""
    from rich.prompt import Confirm

    try:
        return Confirm.ask(f"Start the rollout of release {number} to production?", console=console)
    except EOFError:
        return None


def _show_unchanged(output: Format, pipeline: str, earlier: dict[str, Any] | None, inputs: str, project: Project) -> None:
    if earlier is not None:
        former = _find_former_champion(project, earlier)
        data = {"inputs": inputs, "run": earlier["id"], "last_outcome": earlier["outcome"], "replaced": former is not None}
        rows = {"unchanged": f"run {earlier['id']} had the same inputs, and its outcome was: {earlier['outcome']}"}
        if former is not None:
            rows["note"] = f"its release {former} is no longer champion, because of a rollback or a later release"
            rows["roll out again"] = f"sluice rollout start {former}, then sluice rollout approve {former}"
        rows["run again"] = f"sluice run {pipeline} --force"
        show(output, Envelope(command="run", outcome="unchanged", data=data), facts(rows))
    else:
        table = facts({"would run": pipeline, "inputs": inputs})
        show(output, Envelope(command="run", outcome="would-run", data={"inputs": inputs, "pipeline": pipeline}), table)


def _find_former_champion(project: Project, earlier: dict[str, Any]) -> int | None:
    """Return the number of the release that a run promoted, if it is no longer champion; otherwise None."""
    from sluice.rollout.requests.statuses import read_status

    release = earlier.get("release") or {}
    if earlier["outcome"] != "promoted" or read_status(project).champion == release.get("digest"):
        return None
    return int(release["number"])


def _table(document: dict[str, Any], folder: Path) -> Any:  # noqa: ANN401
    from sluice.rollout.requests.admission import describe_override

    rows: dict[str, object] = {"outcome": document["outcome"], "reason": document["reason"]}
    gate = document.get("gate") or {}
    if gate.get("left") is not None:
        rows["gate"] = f"{gate['left']} of {gate['budget']} questions left on this holdout (`sluice gate status`)"
    if document["outcome"] in {"kept", "undecided"} and gate.get("model"):
        scores = f" --scores {gate['scores']}" if gate.get("scores") else ""
        rows["model"] = f"`sluice gate override {gate['model']}{scores} --why …` lets it pass nevertheless"
    if overridden := describe_override({"gate": gate}):
        rows["override"] = overridden
    if document.get("release"):
        rows["release"] = f"{document['release']['number']}  {document['release']['digest']}"
    if document.get("warnings"):
        rows["warnings"] = "\n".join(f"{warning['text']}. {warning['hint']}" for warning in document["warnings"])
    failed = next((step for step in document.get("steps", []) if step["outcome"] == "fail"), None)
    if failed and failed.get("hint"):
        rows["next"] = failed["hint"]
    return facts(rows | {"records": folder})
