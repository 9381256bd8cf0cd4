"""`sluice demo`: the project's story, played with real parts in `.sluice/demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.markup import escape

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, progress_console, show
from sluice.cli.running import SIGNS
from sluice.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from sluice.demo.player import Played
    from sluice.demo.stories import Act

REPORT = Path("report.html")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo")(demo)


class Screen:
    """Shows the story as it goes: a line for each step's end, a moving one for what runs now."""

    def __init__(self, console: Console) -> None:
        """Write to this console."""
        self.console = console
        self.status = console.status("")
        self.started: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Show the moving line."""
        self.status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take it away."""
        self.status.stop()

    def act_started(self, number: int, act: Act, commit: str) -> None:
        """Head of an act."""
        self.started.clear()
        self.console.print(f"\n[bold]{number}. {escape(act.title)}[/]")
        if commit:
            self.console.print(f"  [dim]commit {commit}  {escape(act.message.partition(chr(10))[0])}[/]")

    def step_event(self, event: dict[str, Any]) -> None:
        """A step started, waits or ended."""
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
                f"  {SIGNS.get(event['outcome'], '•')} {name:<18} [dim]{seconds:5.1f} s[/]  {escape(event['detail'])}"
            )

    def note(self, text: str) -> None:
        """One line."""
        self.status.update(text)
        self.console.print(f"[dim]{escape(text)}[/]")

    def act_ended(self, played: Played) -> None:
        """Foot of an act."""
        sign = "[green]as expected[/]" if played.as_expected else f"[bold red]expected {played.act.expect}[/]"
        self.console.print(f"  → [bold]{played.outcome}[/], {sign}: {escape(played.detail)}")
        if played.traffic.get("requests"):
            seen = played.traffic
            self.console.print(
                f"    [dim]users: {seen['requests']:,} requests, {seen['rate']}/s, p99 {seen['p99_ms']:.0f} ms, "
                f"failed: stable {seen['failed_stable']}, all {seen['failed']}[/]"
            )
        self.status.update("…")


def demo(
    parts: Annotated[
        list[int] | None, typer.Argument(help="Parts to play; default: all. What a part needs is played before it.")
    ] = None,
    rate: Annotated[float, typer.Option(min=50, max=500, help="Requests per second that production sends.")] = 100.0,
    file: Annotated[Path, typer.Option("-o", help="Where the report goes.")] = REPORT,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Play the whole story: a release, a promotion under traffic, a rollback by itself, bad data, a rollback by hand."""
    from sluice.demo.player import play_story
    from sluice.demo.retelling import retell
    from sluice.demo.workspace import SETTINGS
    from sluice.engines.reports import write_report

    project = open_project(project_folder)
    story = _load_story(project)
    wanted = sorted(set(parts or []))
    if wanted and not 1 <= wanted[0] <= wanted[-1] <= len(story.acts):
        raise UsageError(f"the story has parts 1 to {len(story.acts)}", hint="For example `sluice demo 3`.")
    console = progress_console(output)
    started = time.monotonic()
    target = file.absolute()
    with Screen(console) as screen:
        margin, look = SETTINGS["SLUICE_ROLLOUT__MARGIN"], SETTINGS["SLUICE_ROLLOUT__FIRST_LOOK"]
        screen.note(f"to fit into minutes, the canary's margin is {float(margin):.0%} (default 1%) and its first look comes")
        screen.note(
            f"after {look} requests (default 300), and the bake time is {SETTINGS['SLUICE_ROLLOUT__BAKE_SECONDS']} s (default 60)"
        )
        copy, played = play_story(project, story, wanted=wanted, rate=rate, observer=screen)
    write_report(retell(copy, played), "html", target)
    seconds = time.monotonic() - started
    good = all(part.as_expected for part in played)
    data = {"seconds": round(seconds, 1), "report": str(target), "parts": [_data(part) for part in played]}
    show(output, Envelope("demo", "as-expected" if good else "differs", data), _table(played, seconds, target))
    raise typer.Exit(0 if good else 1)


def _load_story(project: Any) -> Any:  # noqa: ANN401
    name = project.settings.demo.story
    if name is None:
        raise ConfigurationError(
            "sluice.toml names no demo.story", hint="Play the demo in a clone of Sluice, or write a story for the project."
        )
    return project.load_object(name, key="demo.story")


def _data(part: Played) -> dict[str, Any]:
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


def _table(played: list[Played], seconds: float, target: Path) -> Any:  # noqa: ANN401
    from rich.console import Group
    from rich.table import Table

    table = Table(
        "", "what happened", "outcome", "took", "requests", "failed at stable", title_justify="left", box=None, pad_edge=False
    )
    for part in played:
        outcome = f"[green]{part.outcome}[/]" if part.as_expected else f"[bold red]{part.outcome}, not {part.act.expect}[/]"
        seen = part.traffic
        requests = f"{seen['requests']:,}" if seen.get("requests") else "-"
        stable = str(seen["failed_stable"]) if seen.get("requests") else "-"
        table.add_row(str(part.number), escape(part.act.title), outcome, f"{part.ended - part.started:.0f} s", requests, stable)
    return Group("", table, "", f"{seconds:.0f} s in all; the report: [bold]{target}[/]")
