"""`sluice release push`: push a release to a registry as an image."""

from __future__ import annotations

import dataclasses
from typing import Annotated

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


def register(app: typer.Typer) -> None:
    """Add the command to the group `sluice release`."""
    app.command("push")(push)


def push(
    ref: Annotated[str, typer.Argument(help="champion, previous, a number, release-<n>, or a digest or its beginning.")],
    to: Annotated[str, typer.Option("--to", help="The repository to push to. Default: serving.repository in sluice.toml.")] = "",
    base: Annotated[str, typer.Option(help="The serving image in a registry. Default: serving.image in sluice.toml.")] = "",
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Use HTTP. Only for a registry on a network that you trust.")
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the registry's certificate.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Push a release as an image: the serving image with the model layer on top.

    This needs no Docker daemon and no build. The same release on the same serving image has the same digest each time.
    """
    from sluice.release.project_releases import open_folder, open_releases
    from sluice.release.registry.publishing import find_destination, publish, tags_of

    project = open_project(project_folder)
    destination = find_destination(project, to=to, base=base, plain_http=plain_http, verify=not insecure)
    release = open_releases(project).get(ref)
    where = destination.to.name
    planned = {
        "release": release.digest,
        "base": str(destination.base),
        "to": f"{where.host}/{where.repository}",
        "tags": tags_of(release.digest, release.number),
    }
    if dry_run:
        show(output, Envelope("release push", "planned", planned), facts(planned))
        return
    with progress_console(output).status("pushing …"):
        pushed = publish(open_folder(project), release, destination)
    shown = {
        "image": pushed.image,
        "tags": ", ".join(pushed.tags),
        "sent": f"{pushed.sent:,} bytes",
        "already there": f"{pushed.reused} blobs",
    }
    show(output, Envelope("release push", "pushed", planned | dataclasses.asdict(pushed)), facts(shown))
