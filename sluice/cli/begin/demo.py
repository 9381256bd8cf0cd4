"""`sluice demo`: play the project's story in `.sluice/demo`, with the real engine, gate, servers and proxy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.markup import escape

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, progress_console, show
from sluice.cli.work.running import OUTCOME_MARKS
from sluice.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from sluice.demo.player import PlayedAct
    from sluice.demo.stories import Act

REPORT = Path("report.html")


def register(app: typer.Typer) -> None:
    """Add the command `demo`."""
    app.command("demo")(demo)


class Screen:
    """Print the story while it is played: one line when a step ends, and a moving line for the present step."""

    def __init__(self, console: Console) -> None:
        """Print to this console."""
        self.console = console
        self.status = console.status("")
        self.started: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Start the moving line."""
        self.status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the moving line."""
        self.status.stop()

    def act_started(self, number: int, act: Act, commit: str) -> None:
        """Print the title and the commit of an act."""
        self.started.clear()
        self.console.print(f"\n[bold]{number}. {escape(act.title)}[/]")
        if commit:
            self.console.print(f"  [dim]commit {commit}  {escape(act.message.partition(chr(10))[0])}[/]")

    def step_event(self, event: dict[str, Any]) -> None:
        """Show that a step started, waits or ended."""
        name = event["step"]
        if event["event"] == "started":
            self.started[name] = event["time"]
            self.status.update(f"{name} …")
        elif event["event"] == "waiting":
            self.status.update(f"{name}: {escape(event['detail'])}")
            if name == "canary":
                self.console.print(f"    [dim]{escape(event['detail'])}[/]")
        else:
            seconds = event["time"] - self.started.get(name, event["time"])
            self.console.print(
                f"  {OUTCOME_MARKS.get(event['outcome'], '•')} {name:<18} [dim]{seconds:5.1f} s[/]  {escape(event['detail'])}"
            )

    def note(self, text: str) -> None:
        """Print one line of text."""
        self.status.update(text)
        self.console.print(f"[dim]{escape(text)}[/]")

    def act_ended(self, played: PlayedAct) -> None:
        """Print how an act ended, and what its users saw."""
        comparison = "[green]as expected[/]" if played.as_expected else f"[bold red]expected {played.act.expect}[/]"
        self.console.print(f"  → [bold]{played.outcome}[/], {comparison}: {escape(played.detail)}")
        if played.traffic.get("requests"):
            seen = played.traffic
            self.console.print(
                f"    [dim]users: {seen['requests']:,} requests, {seen['rate']} per second, p99 {seen['p99_ms']:.0f} ms; "
                f"failed at stable: {seen['failed_stable']}, failed in all: {seen['failed']}[/]"
            )
        self.status.update("…")


def demo(
    parts: Annotated[
        list[int] | None,
        typer.Argument(help="Numbers of the acts to play. Default: all. The acts that they need are played first."),
    ] = None,
    rate: Annotated[float, typer.Option(min=50, max=500, help="Requests per second from production.")] = 100.0,
    file: Annotated[Path, typer.Option("-o", help="File to write the report to.")] = REPORT,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Play the project's story in acts, for example a promotion, an automatic rollback, bad data, and a rollback by a person."""
    from sluice.demo.player import play_story
    from sluice.demo.story_report import make_story_report
    from sluice.demo.workspace import DEMO_SETTINGS
    from sluice.engines.run_reports import write_report

    project = open_project(project_folder)
    story = _load_story(project)
    wanted = sorted(set(parts or []))
    if wanted and not 1 <= wanted[0] <= wanted[-1] <= len(story.acts):
        raise UsageError(
            f"the story has only the acts 1 to {len(story.acts)}", hint="For example, `sluice demo 3` plays the third act."
        )
    console = progress_console(output)
    started = time.monotonic()
    target = file.absolute()
    with Screen(console) as screen:
        for line in _describe_relaxed_settings(DEMO_SETTINGS):
            screen.note(line)
        copy, played = play_story(project, story, wanted=wanted, rate=rate, observer=screen)
    write_report(make_story_report(copy, played), "html", target)
    seconds = time.monotonic() - started
    good = all(part.as_expected for part in played)
    data = {"seconds": round(seconds, 1), "report": str(target), "parts": [_data(part) for part in played]}
    show(output, Envelope("demo", "as-expected" if good else "differs", data), _table(played, seconds, target))
    raise typer.Exit(0 if good else 1)


def _describe_relaxed_settings(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Say how the settings of the demonstration differ from the defaults, in lines that fit a terminal."""
    margin, first_look = float(settings["SLUICE_ROLLOUT__MARGIN"]), settings["SLUICE_ROLLOUT__FIRST_LOOK"]
    return (
        "So that it takes only minutes, the demo relaxes three settings:",
        f"the canary's margin is {margin:.0%} (default 1%), its first interim look comes after {first_look} requests",
        f"(default 300), and the bake takes {settings['SLUICE_ROLLOUT__BAKE_SECONDS']} s (default 60).",
    )


def _load_story(project: Any) -> Any:  # noqa: ANN401
    name = project.settings.demo.story
    if name is None:
        raise ConfigurationError(
            "sluice.toml does not set demo.story",
            hint="Run the demo in a clone of Sluice, or write a story for this project (see sluice/demo/stories.py).",
        )
    return project.load_object(name, key="demo.story")


def _data(part: PlayedAct) -> dict[str, Any]:
    return {
        "part": part.number,
        "name": part.act.name,
        "outcome": part.outcome,
        "expected": part.act.expect,
        "seconds": round(part.ended - part.started, 1),
        "detail": part.detail,
        "traffic": part.traffic,
        "numbers": part.numbers,
        "run": part.run.name if part.run else None,
    }


def _table(played: list[PlayedAct], seconds: float, target: Path) -> Any:  # noqa: ANN401
    from rich.console import Group
    from rich.table import Table

    table = Table(
        "", "what happened", "outcome", "duration", "requests", "failed at stable", title_justify="left", box=None, pad_edge=False
    )
    for part in played:
        outcome = f"[green]{part.outcome}[/]" if part.as_expected else f"[bold red]{part.outcome}, not {part.act.expect}[/]"
        seen = part.traffic
        requests = f"{seen['requests']:,}" if seen.get("requests") else "-"
        stable = str(seen["failed_stable"]) if seen.get("requests") else "-"
        table.add_row(str(part.number), escape(part.act.title), outcome, f"{part.ended - part.started:.0f} s", requests, stable)
    return Group("", table, "", f"The demo took {seconds:.0f} s. The report is [bold]{target}[/]")
