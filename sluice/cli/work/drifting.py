"""`sluice drift`: compare present data, scores or labels with what they were when the champion was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.options_and_output import Envelope, Format, OutputOption, ProjectOption, open_project, show
from sluice.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sluice.drift.auc_changes import AucChange
    from sluice.drift.comparisons import DriftResult
    from sluice.statistics.psi import FeatureDrift


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift")(drift)


def drift(
    reference: Annotated[
        str, typer.Option(help="Path or URL of the data to compare with; default: the data that the champion was trained on.")
    ] = "",
    current: Annotated[
        str, typer.Option(help="Path, URL or pattern of the present data; default: what sluice.toml names. It needs no labels.")
    ] = "",
    scores: Annotated[
        bool, typer.Option("--scores", help="Compare the champion's scores too, with those of the holdout's test rows.")
    ] = False,
    labels: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Compare only the champion's AUC: on the recent labelled rows in FILE, and on the holdout's test rows.",
        ),
    ] = "",
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Say whether the data has drifted since training. The exit code is 0 if it is steady, otherwise 4."""
    from sluice.steps.drift import compare_labels, compare_sources

    if labels and (reference or current or scores):
        raise UsageError(
            "--labels compares only the AUC, so it takes no other data", hint="Run the command twice: with --labels and without."
        )
    project = open_project(project_folder)
    if labels:
        change = compare_labels(project, labels)
        outcome, document, shown = change.outcome, change.to_dict(), _show_change(change)
    else:
        result = compare_sources(project, reference, current, scores=scores)
        outcome, document, shown = result.outcome, result.to_dict(), _show_result(result)
    show(output, Envelope("drift", outcome.value, document), shown)
    if outcome.value != "steady":
        raise typer.Exit(CheckFailedError.exit_code)


def _show_change(change: AucChange) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape

    lines = [f"[bold]{change.outcome.value}:[/] {escape(change.detail)}"]
    return Group(*lines, *([f"[bold]next:[/] {escape(change.hint)}"] if change.hint else []))


def _show_result(result: DriftResult) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    table = Table("feature", "PSI", "adjusted p", "missing", "new", "", box=None, pad_edge=False)
    for name, feature in result.features.items():
        estimate = feature.estimate
        numbers = (f"{estimate.psi:.3f}", f"{feature.adjusted_p:.2g}", f"{estimate.missing:.1%}", f"{estimate.new:.1%}")
        table.add_row(escape(name), *numbers, _describe(feature, result.in_part.get(name, "")))
    for name, reason in result.not_compared.items():
        table.add_row(escape(name), "", "", "", "", f"[yellow]not compared: {escape(reason)}[/]")
    for name, reason in result.left_out.items():
        table.add_row(f"[dim]{escape(name)}[/]", "", "", "", "", f"[dim]left out: {escape(reason)}[/]")
    hints = [f"[bold]hint:[/] {escape(name)}: {escape(hint)}" for name, found in result.hints.items() for hint in found]
    if result.not_compared:
        hints.append("[bold]next:[/] Correct these columns, or name those that do not matter in drift.leave_out.")
    verdict = "" if result.drifted else f"[bold]{result.outcome.value}:[/] "  # the detail of drift begins with that word
    return Group(table, "", f"{verdict}{escape(result.detail)}", *hints)


def _describe(feature: FeatureDrift, limit: str) -> str:
    from rich.markup import escape

    if feature.drifted:
        return "[red]drifted[/]"
    if not feature.conclusive:
        return "[yellow]too few rows[/]"
    return f"[dim]compared only in part: {escape(limit)}[/]" if limit else ""
