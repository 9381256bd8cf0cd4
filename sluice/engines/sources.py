"""What a pipeline source names: a pipeline of the project, a Python file, or a file of compiled IR, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import DataError, UnsupportedError
from sluice.ir.lint import find_rounded, find_unread_fields
from sluice.ir.reading import parse_ir, read_file
from sluice.project.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.ir.graph import Pipeline
    from sluice.ir.lint import Finding
    from sluice.project.projects import Project

IR_ENDINGS = frozenset({".yaml", ".yml", ".json"})


_BROKEN = (
    "KFP's own compiler wrote this IR, and it does not hold together. Write what it names otherwise: "
    "hand the value to the step as an argument of its own, or to a pipeline of its own."
)


def is_ir(source: str) -> bool:
    """Whether a source is a file of compiled IR, which needs no kfp."""
    return Path(source).suffix in IR_ENDINGS


def is_file(source: str) -> bool:
    """Whether a source is a file, which needs no project."""
    return is_ir(source) or source.partition(":")[0].endswith(".py")


def read_source(source: str, project: Project | None, *, images: Iterable[str] = ()) -> tuple[str, Pipeline]:
    """Read a source.

    Args:
        source: ``NAME`` under ``[pipelines]``, ``file.py[:function]``, or a file of IR.
        project: The project; may be None for a file.
        images: ``NAME=DIGEST`` pairs to put into it.

    Returns:
        Its IR as text, and the graph.

    Raises:
        DataError: There is no such file, or it is no pipeline.
        UsageError: The source is none of these, or an image pair is no pair.
    """
    if is_ir(source):
        text = read_file(Path(source))
        pipeline = parse_ir(text, source=source)
        if images:
            from sluice.engines.kfp import replace_images  # noqa: PLC0415 - only where it is asked for

            text = replace_images(text, images)
            pipeline = parse_ir(text, source=source)
        return text, pipeline
    from sluice.engines.kfp import compile_to_ir  # noqa: PLC0415 - half a second that a file of IR does not need

    text = compile_to_ir(project, source, images=images)
    return text, parse_ir(text, source=source, hint=_BROKEN)


def has_project() -> bool:
    """Whether the working directory is inside a project, told without reading it."""
    try:
        find_root()
    except DataError:
        return False
    return True


def find_warnings(source: str, pipeline: Pipeline) -> list[Finding]:
    """What is to be known of a pipeline that compiles: fields that mean nothing here, and constants that KFP may have rounded.

    Raises:
        UnsupportedError: The source is Python, so that its author can be told.
    """
    found = find_rounded(pipeline)
    if found and not is_ir(source):
        told = "; ".join(f"{finding.task}, {finding.field}" for finding in found)
        raise UnsupportedError(f"{found[0].reason}: {told}", hint=found[0].hint)
    return [*found, *find_unread_fields(pipeline, matters=False)]
