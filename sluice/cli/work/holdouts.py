"""`sluice holdout status | new | rotate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.options_and_output import (
    DryRunOption,
    Envelope,
    Format,
    OutputOption,
    ProjectOption,
    YesOption,
    confirm,
    facts,
    name_person,
    open_project,
    progress_console,
    show,
)
from sluice.errors import RefusedError

if TYPE_CHECKING:
    from sluice.steps.holdouts.creation import HoldoutPlan
    from sluice.steps.holdouts.statuses import HoldoutStatus

app = typer.Typer(help="Look at the holdout, make a new one from fresh labelled data, and switch to it.", no_args_is_help=True)


@app.command("status")
def status(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show the holdout's rows and age, and rows that it shares with training data. The exit code is 4 if it is unusable."""
    from sluice.steps.holdouts.statuses import read_holdout_status

    found = read_holdout_status(open_project(project_folder))
    outcome = "unusable" if not found.usable else "old" if found.age.old else "usable"
    show(output, Envelope("holdout status", outcome, found.to_dict()), facts(_status_facts(found, outcome)))
    if not found.usable:
        raise typer.Exit(RefusedError.exit_code)


def _status_facts(found: HoldoutStatus, outcome: str) -> dict[str, object]:
    since = time.strftime("%Y-%m-%d", time.localtime(found.since))
    rows: dict[str, object] = {
        "holdout": f"{found.source}  {found.digest[:19]}",
        "state": outcome,
        "in use since": f"{since} ({found.days:.0f} days)",
    }
    rows |= _count_facts(found.counts)
    if found.problem:
        rows["problem"] = found.problem
    rows["features"] = found.age.features
    if found.age.champion:
        rows["champion"] = found.age.champion
    for name, overlap in found.overlaps.items():
        rows[name] = overlap.describe_repeated_rows() if overlap.has_repeated_rows else overlap.describe()
    rows |= {"not checked": "; ".join(found.unknown)} if found.unknown else {}
    warning = found.age.warn()
    return rows | ({"next": warning.hint} if warning else {})


def _count_facts(counts: dict[str, dict[str, int]]) -> dict[str, object]:
    return {
        f"{part} rows": f"{sum(labels.values()):,} ({labels['positive']:,} positive, {labels['negative']:,} negative)"
        for part, labels in counts.items()
    }


@app.command("new")
def new(
    fresh: Annotated[str, typer.Argument(help="Fresh labelled data (Parquet or CSV): a path relative to the project, or a URL.")],
    rows: Annotated[
        int,
        typer.Option(min=0, help="Rows of the holdout. Default: as many as it has now, and at most half of the fresh rows."),
    ] = 0,
    rest: Annotated[
        Path | None, typer.Option(help="Write the other fresh rows to this file. A model may be trained on them.")
    ] = None,
    folder: Annotated[str, typer.Option(help="Folder for the new file. Default: the folder of the present holdout.")] = "",
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Make a holdout file from rows that no model was trained on. `sluice holdout rotate` switches to it."""
    from sluice.steps.holdouts.creation import create_holdout, plan_new_holdout, write_rest

    project = open_project(project_folder)
    plan = plan_new_holdout(project, fresh, rows=rows)
    data, table = plan.to_dict(), _plan_facts(plan)
    outcome = "would-create"
    if rest:
        write_rest(project, plan, rest, dry_run=dry_run)
        data["rest_file"] = str(rest)
    if not dry_run:
        made = create_holdout(project, plan, folder=folder)
        outcome = "created" if made.created else "unchanged"
        name = str(made.file.relative_to(project.root)) if project.root in made.file.parents else str(made.file)
        data |= {"file": name, "digest": made.digest}
        table |= {
            "file": name,
            "for sluice.toml": f'holdout = "{name}"\nholdout_digest = "{made.digest}"',
            "next": f'sluice holdout rotate {name} --why "…"',
        }
    show(output, Envelope("holdout new", outcome, data), facts({"result": outcome} | table))


@app.command("rotate")
def switch(
    file: Annotated[str, typer.Argument(help="The new holdout, for example from `sluice holdout new`.")],
    why: Annotated[str, typer.Option("--why", help="The reason; the gate's ledger records it.")],
    by: Annotated[str, typer.Option("--by", help="The person who rotates; default: the user of this machine.")] = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Switch to a new holdout: the champion's server scores its gate rows, and the gate's budget is carried over."""
    from sluice.steps.holdouts.rotation import plan_rotation, rotate

    plan = plan_rotation(open_project(project_folder), file)
    person = name_person(by)
    outcome = "unchanged" if plan.unchanged else "would-rotate" if dry_run else "rotated"
    if outcome == "rotated" and plan.same_rows:
        rotate(plan, by=person, why=why)
        outcome = "renamed"
    elif outcome == "rotated":
        confirm(yes, output, f"Replace the holdout {plan.old.digest[:19]} by {plan.name}?", change="replaces the holdout")
        with progress_console(output).status("the champion's server scores the new gate rows …" if plan.champion else "…"):
            rotate(plan, by=person, why=why)
    use = plan.use
    rows = (
        {
            "result": outcome,
            "holdout": f"{plan.name}  {plan.digest[:19]}",
            "before": plan.old.digest[:19]
            + (", with the same rows, so the ledger records no rotation" if plan.same_rows else ""),
            **_count_facts(plan.new.count()),
            "champion": f"{plan.champion[:19]} is scored on the new gate rows by its own server" if plan.champion else "none",
            "budget": f"{use.left} of {use.budget} questions left; {use.carried} of the last 365 days are carried over",
            "by": f"{person}: {why}",
        }
        | ({"warning": use.warning} if use.warning else {})
        | ({"next": "commit sluice.toml, and train on data of today with `sluice run`"} if outcome == "rotated" else {})
    )
    show(output, Envelope("holdout rotate", outcome, plan.to_dict() | {"by": person, "why": why}), facts(rows))


def _plan_facts(plan: HoldoutPlan) -> dict[str, Any]:
    left_out = {f"left out, in {name}": f"{number:,} rows" for name, number in plan.left_out.items() if number}
    facts_of_plan = {"fresh data": f"{plan.fresh.source}, {len(plan.rows):,} rows"} | left_out
    return facts_of_plan | _count_facts(plan.counts) | {"rows for training": f"{int(plan.rest.sum()):,}"}
