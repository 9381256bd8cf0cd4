"""Read the pipeline of a case from one of KFP's files, or compile it from a function in `local_pipelines`."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.ir.reading import parse_ir

if TYPE_CHECKING:
    from argo_runs import Case

    from sluice.ir.graph import Pipeline

CONFORMANCE = Path(os.environ.get("SLUICE_CONFORMANCE") or Path(__file__).parents[4] / "shared" / "conformance") / "kfp"
_COMPILING = threading.Lock()
"""Is held while kfp compiles, because kfp keeps the pipeline in a global variable."""


def read_pipeline(case: Case) -> Pipeline:
    """Return the graph of a case's pipeline."""
    if case.name.endswith(".yaml"):
        return parse_ir(read_ir(CONFORMANCE / case.name, case.replace))
    import local_pipelines

    return compile_function(getattr(local_pipelines, case.name.split()[0]))


def read_ir(file: Path, replace: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the text of a conformance file, with the replacements."""
    text = file.read_text(encoding="utf-8")
    for old, new in replace:
        assert old in text, f"{file.name} does not contain {old!r}"
        text = text.replace(old, new)
    return text


def compile_function(function: Any) -> Pipeline:
    """Compile a pipeline function with kfp, and return its graph."""
    from kfp import compiler

    with _COMPILING, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(function, str(file))
        return parse_ir(file.read_text(encoding="utf-8"))
