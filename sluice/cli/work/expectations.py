"""`sluice init-expectations`: propose a suite of the data layer from a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.options_and_output import DryRunOption, Envelope, Format, OutputOption, ProjectOption, facts, open_project, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init-expectations")(init_expectations)


def init_expectations(
    snapshot: Annotated[str, typer.Option(help="Path, URL or pattern of the data; default: what sluice.toml names.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="File for the proposals; default: proposed_expectations.py in the data suite.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Propose expectations for the data layer from a snapshot. They are written to a file for review, and nothing runs them."""
    from sluice.checks.expectation_files import propose_suite, write_suite

    suite = propose_suite(open_project(project_folder), snapshot=snapshot, file=file)
    if not dry_run:
        write_suite(suite, force=force)
    data = {
        "file": str(suite.file),
        "snapshot": {"source": suite.snapshot.source, "digest": suite.snapshot.digest},
        "proposals": [{"kind": one.kind, "arguments": dict(one.arguments), "evidence": one.evidence} for one in suite.proposals],
    }
    left_out = [one.evidence for one in suite.proposals if not one.kind]
    rows: dict[str, object] = {
        "would write" if dry_run else "written": suite.file,
        "proposed": f"{suite.count} expectations from {suite.snapshot.source}",
    }
    rows |= {"nothing proposed": "\n".join(left_out)} if left_out else {}
    rows["next"] = "Review each line of the file. Then call expect_snapshot() from a test of the data suite, as the file shows."
    show(output, Envelope("init-expectations", "would-write" if dry_run else "written", data), facts(rows))
