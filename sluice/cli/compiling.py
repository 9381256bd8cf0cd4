"""`sluice compile SOURCE --target kfp`: a pipeline for an engine in a cluster."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.surface import Envelope, Format, OutputOption, ProjectOption, facts, open_project, show


class Target(StrEnum):
    """What to compile to."""

    KFP = "kfp"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compile")(compile_)


def compile_(
    source: Annotated[str, typer.Argument(help="A pipeline of the project by name, or file.py[:function].")],
    target: Annotated[Target, typer.Option("--target", help="kfp: pipeline IR that KFP's own client accepts.")] = Target.KFP,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="NAME=DIGEST", help="Replace an image; may be repeated.")
    ] = None,
    file: Annotated[Path | None, typer.Option("-o", help="Where to write; default: standard output.")] = None,
    output: OutputOption = Format.TABLE,
    project_folder: ProjectOption = None,
) -> None:
    """Compile a pipeline; the local run comes from the same definition."""
    from sluice.engines.kfp import compile_to_ir

    project = open_project(project_folder)
    text = compile_to_ir(project, source, images=image or [])
    if file is None and output is Format.TABLE:
        sys.stdout.write(text)
        return
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    data = {"target": target.value, "file": str(file) if file else None, "yaml": None if file else text}
    show(output, Envelope("compile", "done", data), facts({"written": file, "target": target.value}))
