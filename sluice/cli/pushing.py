"""`sluice release push`: a release as an image in a registry."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from sluice.cli.surface import (
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
from sluice.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the verb to the group of releases."""
    app.command("push")(push)


def push(
    ref: Annotated[str, typer.Argument(help="champion, previous, a number, release-<n>, or a digest or its beginning.")],
    to: Annotated[str, typer.Option("--to", help="Repository to push to; default: serving.repository of sluice.toml.")] = "",
    base: Annotated[str, typer.Option(help="The serving image in a registry; default: serving.image.")] = "",
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Speak HTTP, to a registry that you trust the way to.")
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the registry's certificate.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Push a release: the serving image with the model layer on top; no Docker daemon, no build, the same digest each time."""
    from sluice.release.pushing import push_release
    from sluice.release.references import read_reference
    from sluice.release.registry import Registry
    from sluice.release.store import ReleaseStore

    project = open_project(project_folder)
    serving = project.settings.serving
    for given, key, option in ((to or serving.repository, "repository", "--to"), (base or serving.image, "image", "--base")):
        if not given:
            raise UsageError(f"no {key} is named", hint=f"Say {option}, or set serving.{key} in sluice.toml.")
    target, source = read_reference(to or serving.repository), read_reference(base or serving.image)
    store = ReleaseStore(project.state / "releases")
    release = store.get(ref)
    tags = [f"release-{release.number}"]
    planned = {"release": release.digest, "base": str(source), "to": f"{target.host}/{target.repository}", "tags": tags}
    if dry_run:
        show(output, Envelope("release push", "planned", planned), facts(planned))
        return
    with (
        Registry(target.host, target.repository, plain_http=plain_http, verify=not insecure) as registry,
        Registry(source.host, source.repository, plain_http=plain_http, verify=not insecure) as origin,
        progress_console(output).status("pushing …"),
    ):
        pushed = push_release(store, release, source, registry, origin, tags=tags)
    done = planned | dataclasses.asdict(pushed)
    shown = {
        "image": pushed.image,
        "tags": ", ".join(tags),
        "sent": f"{pushed.sent:,} bytes",
        "there already": f"{pushed.reused} blobs",
    }
    show(output, Envelope("release push", "pushed", done), facts(shown))
