"""Read a pipeline from its source: a pipeline of the project, a Python file, or any file of compiled IR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import ConfigurationError, DataError, UnsupportedError
from sluice.ir.lint import find_rounded_numbers, find_unread_fields
from sluice.ir.reading import parse_ir, read_file
from sluice.project.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.ir.graph import Pipeline
    from sluice.ir.lint import Finding
    from sluice.project.projects import Project

IR_ENDINGS = frozenset({".yaml", ".yml", ".json"})


_BROKEN = (
    "KFP's own compiler wrote this inconsistent IR. Change the construct that the message names: "
    "pass the value to the step as a separate argument, or move the step into a nested pipeline."
)


def is_ir(source: str) -> bool:
    """Return whether a source is a file of compiled IR. Reading such a file does not need kfp."""
    return Path(source).suffix in IR_ENDINGS


def is_file(source: str) -> bool:
    """Return whether a source is a file. A file needs no project."""
    return is_ir(source) or source.partition(":")[0].endswith(".py")


def read_source(source: str, project: Project | None, *, images: Iterable[str] = ()) -> tuple[str, Pipeline]:
    """Read a source.

    Args:
        source: A name under ``[pipelines]``, a ``file.py[:function]``, or a file of IR.
        project: The project. It may be None if the source is a file.
        images: Images to replace, as ``NAME=DIGEST``.

    Returns:
        The IR as text, and the graph.

    Raises:
        DataError: The file does not exist, or it is not a pipeline.
        UsageError: The source is none of these three, or an image is not of the form ``NAME=DIGEST``.
    """
    if is_ir(source):
        text = read_file(Path(source))
        pipeline = parse_ir(text, source=source)
        if images:
            from sluice.engines.ir_compilation import replace_images  # noqa: PLC0415 - most sources need no images

            text = replace_images(text, images)
            pipeline = parse_ir(text, source=source)
        return text, pipeline
    from sluice.engines.ir_compilation import compile_to_ir  # noqa: PLC0415 - the import takes half a second, and a file of IR does not need it

    text = compile_to_ir(project, source, images=images)
    return text, parse_ir(text, source=source, hint=_BROKEN)


def has_project() -> bool:
    """Return whether the working directory is inside a project. The project is not read."""
    try:
        find_root()
    except DataError:
        return False
    return True


def check_pipeline(project: Project, pipeline: str) -> None:
    """Make sure that sluice.toml has this pipeline.

    Raises:
        ConfigurationError: It does not. The message names the pipelines that it has.
    """
    known = project.settings.pipelines
    if pipeline not in known:
        raise ConfigurationError(
            f"sluice.toml has no pipeline {pipeline!r}; its pipelines are: {', '.join(sorted(known)) or 'none'}",
            hint="Choose one of them, or add this one under [pipelines].",
        )


def find_warnings(source: str, pipeline: Pipeline) -> list[Finding]:
    """Return the warnings about a pipeline: fields that Sluice ignores, and constants that KFP's compiler may have rounded.

    Raises:
        UnsupportedError: A Python file contains a constant that KFP's compiler rounds. Its author can change the constant.
    """
    found = find_rounded_numbers(pipeline)
    if found and not is_ir(source):
        places = "; ".join(f"{finding.task}, {finding.field}" for finding in found)
        raise UnsupportedError(f"{found[0].reason}: {places}", hint=found[0].hint)
    return [*found, *find_unread_fields(pipeline, matters=False)]
