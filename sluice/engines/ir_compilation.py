"""The target KFP: kfp's own compiler compiles a pipeline to IR."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError, SluiceError, UsageError
from sluice.ir.documents import load_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sluice.project.projects import Project

_PACKAGE = Path(__file__).resolve().parents[1]


def compile_to_ir(project: Project | None, source: str, *, images: Iterable[str] = ()) -> str:
    """Compile a pipeline to IR YAML.

    Args:
        project: The project. It may be None if the source is a Python file.
        source: A name under ``[pipelines]``, or ``file.py[:function]``.
        images: Images to replace, as ``NAME=DIGEST``. Every step with the image NAME gets NAME@DIGEST. If DIGEST does not begin
            with ``sha256:``, it is a whole image reference, and the step gets DIGEST itself.

    Returns:
        The YAML text. The same source always gives the same text. The steps of a pipeline of the project have the environment
        variables of ``steps.env``.

    Raises:
        DataError: The file or the function does not exist, or its code raises an error. The message names file and line.
        UsageError: The source is neither of the two, or an image is not of the form ``NAME=DIGEST``.
    """
    from kfp import compiler  # noqa: PLC0415 - the import takes half a second, and only this function needs it

    with _running_user_code(source), tempfile.TemporaryDirectory(prefix="sluice-compile-") as name:
        function = load_pipeline(project, source)
        file = Path(name) / "pipeline.yaml"
        compiler.Compiler().compile(function, str(file))
        text = file.read_text(encoding="utf-8")
    if project is not None and source in project.settings.pipelines:
        text = add_environment(text, project.settings.steps.env)
    return replace_images(text, images)


@contextlib.contextmanager
def _running_user_code(source: str) -> Iterator[None]:
    """Run the code of a pipeline's author.

    Its output goes to standard error. An error in it becomes a `DataError`, so that the author learns which line to correct.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SluiceError:
        raise
    except (Exception, SystemExit) as error:
        message = f"{error.msg}" if isinstance(error, SyntaxError) else f"{error}"
        raise DataError(
            f"{_place_of(error) or source}: {type(error).__name__}: {message}",
            hint="Correct the file. The option --debug shows the whole traceback.",
        ) from error


def _place_of(error: BaseException) -> str:
    """Return file and line of an error in the author's code: the innermost frame that belongs to no library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    libraries = tuple(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib"))
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*libraries, "<frozen", str(_PACKAGE)))]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def load_pipeline(project: Project | None, source: str) -> Any:  # noqa: ANN401 - a KFP pipeline function
    """Load the KFP pipeline that a source names.

    Raises:
        DataError: The file or the function does not exist.
        UsageError: The source is neither a pipeline of the project nor a Python file.
    """
    named = project.settings.pipelines if project else {}
    if project and source in named:
        return project.load_object(named[source], key=f"pipelines.{source}")
    file, _, function = source.partition(":")
    if not file.endswith(".py"):
        raise UsageError(
            f"{source!r} is neither a pipeline of this project ({', '.join(sorted(named)) or 'it has none'}) nor a Python file",
            hint="Give a name under [pipelines] in sluice.toml, or file.py[:function].",
        )
    return _load_from_file(Path(file), function)


def _load_from_file(file: Path, function: str) -> Any:  # noqa: ANN401
    from kfp.dsl.graph_component import GraphComponent  # noqa: PLC0415

    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise DataError(f"the Python file {file} does not exist", hint="Give the path of a file that defines a @dsl.pipeline.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pipelines = {name: value for name, value in vars(module).items() if isinstance(value, GraphComponent)}
    if function and function in pipelines:
        return pipelines[function]
    if not function and len(pipelines) == 1:
        return next(iter(pipelines.values()))
    found = f"no pipeline {function!r}" if function else f"{len(pipelines)} pipelines"
    names = ", ".join(sorted(pipelines)) or "none"
    raise DataError(f"{file} defines {found}; its pipelines are: {names}", hint=f"Name the pipeline: {file}:FUNCTION.")


def add_environment(text: str, env: Mapping[str, str]) -> str:
    """Give environment variables to every step of IR. A variable that a step sets itself keeps the step's value.

    Args:
        text: The IR.
        env: Name → literal value. If there are none, the text stays as it is.
    """
    if not env:
        return text
    documents = load_documents(text)
    for container in (container for document in documents for container in _find_containers(document)):
        own = container.get("env") or []
        names = {entry["name"] for entry in own}
        container["env"] = [*own, *({"name": name, "value": value} for name, value in env.items() if name not in names)]
    return write_documents(text, documents)


def replace_images(text: str, images: Iterable[str]) -> str:
    """Replace images in IR.

    Args:
        text: The IR.
        images: Images to replace, as ``NAME=DIGEST``. If there are none, the text stays as it is.

    Returns:
        The changed IR.

    Raises:
        UsageError: An image is not of the form ``NAME=DIGEST``, or no step has the image.
    """
    pairs = dict(_split_pair(pair) for pair in images)
    if not pairs:
        return text
    documents = load_documents(text)
    used = {name for document in documents for name in _replace(document, pairs)}
    if unknown := sorted(set(pairs) - used):
        raise UsageError(f"no step has the image {unknown[0]!r}", hint="`sluice compile` without --image shows all images.")
    return write_documents(text, documents)


def write_documents(before: str, documents: list[Any]) -> str:
    """Return documents as YAML, with the comments that the text had before."""
    import yaml  # noqa: PLC0415 - most sources need no change

    comments = "".join(line for line in before.splitlines(keepends=True) if line.startswith("#"))
    return comments + yaml.safe_dump_all(documents, sort_keys=False, explicit_start=len(documents) > 1)


def _split_pair(pair: str) -> tuple[str, str]:
    name, sign, digest = pair.partition("=")
    if not (name and sign and digest):
        raise UsageError(f"--image {pair!r} is not NAME=DIGEST", hint="Give it as in --image sluice-step:latest=sha256:…")
    return name, f"{name.partition('@')[0]}@{digest}" if digest.startswith("sha256:") else digest


def _replace(document: Mapping[str, Any], pairs: Mapping[str, str]) -> set[str]:
    used = set()
    for container in _find_containers(document):
        if container.get("image") in pairs:
            used.add(container["image"])
            container["image"] = pairs[container["image"]]
    return used


def _find_containers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of all executors of a document. An importer has none."""
    spec = document.get("pipelineSpec", document)  # A PipelineJob contains a PipelineSpec.
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    return [executor["container"] for executor in executors.values() if "container" in executor]
