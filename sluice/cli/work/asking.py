"""`sluice gate preview | ask`: compare the model that was trained last with the champion. Only `ask` uses up a question."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sluice.cli.options_and_output import (
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
    import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the group `gate`."""
    app.command("preview")(preview)
    app.command("ask")(ask)


def preview(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Compare the model that was trained last with the champion on the test rows. This uses up no question to the gate."""
    from sluice.steps.standalone.gate_questions import preview_gate

    project = open_project(project_folder)
    with progress_console(output).status("comparing with the champion on the test rows …"):
        found = preview_gate(project)
    rows: dict[str, object] = {"model": found.model, "champion": found.champion or "none", "": found.detail}
    show(output, Envelope("gate preview", found.outcome, dataclasses.asdict(found) | {"detail": found.detail}), facts(rows))


def ask(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Ask the gate about the model that was trained last. The question counts. `sluice release build` then packages the model.

    The exit code is 0 if the gate decided, also if the champion stays. It is 4 if the gate could not decide, or was not asked.
    """
    from sluice.steps.standalone.gate_questions import ask_about_candidate

    project = open_project(project_folder)
    with progress_console(output).status("asking the gate …"):
        decision = ask_about_candidate(project)
    override, outcome = decision.get("override"), "promote" if decision["promote"] else "kept"
    rows: dict[str, Any] = {"model": decision["model"], "gate": decision["verdict"]["detail"] or outcome}
    rows["questions"] = f"{decision['uses']} of {decision['budget']} used, {decision['left']} left"
    if override:
        outcome = "overridden"
        rows["override"] = f"{override['by']} let the model pass: {override['why']}"
    rows["next"] = (
        "the champion stays, so there is nothing to release" if outcome == "kept" else "`sluice release build` packages the model"
    )
    show(output, Envelope("gate ask", outcome, decision), facts(rows))
