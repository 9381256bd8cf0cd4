"""KFP as a target: the project's pipeline compiled to IR by kfp's own compiler."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluice.project import Project


def compile_to_ir(project: Project, source: str, *, images: Iterable[str] = ()) -> str:
    """Compile a pipeline to IR YAML.

    Args:
        project: The project.
        source: A name under ``[pipelines]``, or ``file.py[:function]``.
        images: ``NAME=DIGEST`` pairs; every step whose image is NAME gets NAME@DIGEST, or DIGEST where that is a whole reference.

    Returns:
        The YAML text, the same for the same source.

    Raises:
        DataError: There is no such file or function.
        UsageError: The source names neither, or an image pair is no pair.
    """
    from kfp import compiler  # noqa: PLC0415 - half a second that only this call needs

    function = load_pipeline(project, source)
    with tempfile.TemporaryDirectory(prefix="sluice-compile-") as name:
        file = Path(name) / "pipeline.yaml"
        compiler.Compiler().compile(function, str(file))
        text = file.read_text(encoding="utf-8")
    return replace_images(text, images)


def load_pipeline(project: Project, source: str) -> Any:  # noqa: ANN401 - a KFP pipeline function
    """The KFP pipeline that a source names.

    Raises:
        DataError: There is no such file or function.
        UsageError: It is neither a pipeline of the project nor a Python file.
    """
    named = project.settings.pipelines
    if source in named:
        return project.load_object(named[source], key=f"pipelines.{source}")
    file, _, function = source.partition(":")
    if not file.endswith(".py"):
        raise UsageError(
            f"{source!r} is neither a pipeline of this project ({', '.join(sorted(named)) or 'it names none'}) nor a Python file",
            hint="Give a name under [pipelines] of sluice.toml, or file.py[:function].",
        )
    return _load_from_file(Path(file), function)


def _load_from_file(file: Path, function: str) -> Any:  # noqa: ANN401
    from kfp.dsl.graph_component import GraphComponent  # noqa: PLC0415

    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise DataError(f"there is no Python file {file}", hint="Give the path of a file that defines a @dsl.pipeline.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pipelines = {name: value for name, value in vars(module).items() if isinstance(value, GraphComponent)}
    if function and function in pipelines:
        return pipelines[function]
    if not function and len(pipelines) == 1:
        return next(iter(pipelines.values()))
    wanted = f"no pipeline {function!r}" if function else f"{len(pipelines)} pipelines"
    raise DataError(f"{file} has {wanted}; it defines: {', '.join(sorted(pipelines)) or 'none'}", hint=f"Say {file}:FUNCTION.")


def replace_images(text: str, images: Iterable[str]) -> str:
    """Put digests in the place of image names; `text` is returned as it is where there are none.

    Raises:
        UsageError: A pair is no pair, or names an image that no step has.
    """
    pairs = dict(_split_pair(pair) for pair in images)
    if not pairs:
        return text
    import yaml  # noqa: PLC0415

    documents = list(yaml.safe_load_all(text))
    used = {name for document in documents for name in _replace(document, pairs)}
    if unknown := sorted(set(pairs) - used):
        raise UsageError(f"no step has the image {unknown[0]!r}", hint="`sluice compile` without --image shows the images.")
    comments = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return comments + yaml.safe_dump_all(documents, sort_keys=False, explicit_start=len(documents) > 1)


def _split_pair(pair: str) -> tuple[str, str]:
    name, sign, digest = pair.partition("=")
    if not (name and sign and digest):
        raise UsageError(f"--image {pair!r} is not NAME=DIGEST", hint="For example --image sluice-step:latest=sha256:…")
    return name, f"{name.partition('@')[0]}@{digest}" if digest.startswith("sha256:") else digest


def _replace(document: Mapping[str, Any], pairs: Mapping[str, str]) -> set[str]:
    executors = document.get("deploymentSpec", {}).get("executors", {})
    used = set()
    for executor in executors.values():
        container = executor.get("container", {})
        if container.get("image") in pairs:
            used.add(container["image"])
            container["image"] = pairs[container["image"]]
    return used
