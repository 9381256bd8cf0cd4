"""The commands `sluice release build | list | show | verify`."""

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
    facts,
    open_project,
    progress_console,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project
    from sluice.release.project_releases import Releases

app = typer.Typer(help="Build, list, show, verify and push releases.", no_args_is_help=True)

RefArgument = Annotated[str, typer.Argument(help="champion, previous, a number, release-<n>, or a digest or its beginning.")]


def _store(project: Project) -> Releases:
    from sluice.release.project_releases import open_releases

    return open_releases(project)


@app.command("build")
def build(dry_run: DryRunOption = False, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Package the model that was trained last, with the gate's decision if `sluice gate ask` asked about it.

    Without the gate's decision, the release never takes production traffic, and it is not pushed.
    """
    from sluice.steps.packaging import describe
    from sluice.steps.standalone.candidates import build_candidate, plan_candidate

    project = open_project(project_folder)
    plan = plan_candidate(project)
    rows: dict[str, object] = {"model": plan.digest, "trained on": plan.snapshot_digest}
    rows |= {f"verdicts of {layer}": f"left out: {reason}" if reason else "included" for layer, reason in plan.left_out.items()}
    rows["gate"] = _describe_gate(plan.decision)
    if dry_run:
        data = {"model": plan.digest, "snapshot": plan.snapshot_digest, "layers": sorted(plan.verdicts)}
        show(output, Envelope("release build", "would-build", data), facts({"would build": "a release"} | rows))
        return
    with progress_console(output).status("packaging …"):
        release = build_candidate(project)
    rows = {"release": release.number, "digest": release.digest} | rows
    show(output, Envelope("release build", "done", describe(release)), facts(rows))


@app.command("list")
def list_(output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """List all releases, newest first."""
    from rich.table import Table

    from sluice.steps.packaging import describe

    project = open_project(project_folder)
    condemned = _read_condemned(project)
    releases = sorted(_store(project).list(), key=lambda release: -release.number)
    table = Table("release", "digest", "tags", "commit", "data", "gate", "canary", box=None, pad_edge=False)
    for release in releases:
        code, data, gate = release.manifest["code"], release.manifest["data"], release.manifest.get("gate")
        table.add_row(
            str(release.number),
            release.digest[:19],
            ", ".join(sorted(release.tags)),
            code["commit"][:12] + ("+" if code["dirty"] else ""),
            data["snapshot_digest"][:19],
            _describe_gate(gate),
            "unknown" if condemned is None else "[red]condemned[/]" if release.digest in condemned else "",
        )
    data_ = {"releases": [describe(release) | {"condemned": (condemned or {}).get(release.digest)} for release in releases]}
    show(
        output,
        Envelope("release list", "done", data_),
        table if releases else "There is no release yet. `sluice run` makes the first one.",
    )


def _read_condemned(project: Project) -> dict[str, str] | None:
    """Return when and why each condemned release was condemned; None if the journal is in a cluster that cannot be reached."""
    from sluice.errors import ServiceError
    from sluice.rollout.requests.condemnations import read_condemnations

    try:
        return read_condemnations(project)
    except ServiceError:
        return None


def _describe_gate(gate: Mapping[str, Any] | None) -> str:
    """Return the gate's answer about a release, and who overrode it."""
    if not gate:
        return "not asked"
    if override := gate.get("override"):
        return f"not promoted, but {override['by']} let it pass"
    return ("promote" if gate.get("promote") else "not promoted") + (", unproven" if gate.get("unproven") else "")


@app.command("show")
def show_(ref: RefArgument, output: OutputOption = Format.TABLE, project_folder: ProjectOption = None) -> None:
    """Show what a release was made from, and what was attached to it later."""
    from rich.console import Group
    from rich.pretty import Pretty

    from sluice.steps.packaging import describe

    project = open_project(project_folder)
    store = _store(project)
    release = store.get(ref)
    attachments = store.attachments(release.digest)
    known = _read_condemned(project)
    condemned = "unknown, because the rollout journal cannot be reached" if known is None else known.get(release.digest)
    data = describe(release) | {"attachments": attachments, "condemned": condemned}
    heads = {
        "release": release.number,
        "digest": release.digest,
        "image": release.image_digest,
        "tags": ", ".join(sorted(release.tags)),
    }
    heads |= {"canary": condemned} if condemned else {}
    show(output, Envelope("release show", "done", data), Group(facts(heads), Pretty(release.manifest, expand_all=True)))


@app.command("verify")
def verify(
    ref: Annotated[str, typer.Argument(help="The release. Default: all releases.")] = "",
    key: Annotated[Path | None, typer.Option("--key", help="The public key (PEM) that must have signed the provenance.")] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Check every byte of the releases against the digests.

    The exit code is 4 if a check fails.
    """
    from rich.table import Table

    store = _store(open_project(project_folder))
    references = [ref] if ref else [release.digest for release in store.list()]
    started = time.monotonic()
    verdicts = [verdict for reference in references for verdict in store.verify(reference, key=key)]
    failed = any(verdict.failed for verdict in verdicts)
    table = Table("check", "outcome", "detail", box=None, pad_edge=False)
    for verdict in verdicts:
        table.add_row(verdict.check, "[red]fail[/]" if verdict.failed else "[green]pass[/]", verdict.detail)
    data = {"verdicts": [verdict.to_dict() for verdict in verdicts], "seconds": round(time.monotonic() - started, 3)}
    show(output, Envelope("release verify", "fail" if failed else "pass", data), table)
    raise typer.Exit(4 if failed else 0)
