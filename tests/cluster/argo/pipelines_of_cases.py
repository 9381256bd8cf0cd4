"""Where the pipeline of a case comes from: a file of KFP's own, or a function of these tests."""

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
"""kfp compiles into a global context."""


def pipeline_of(case: Case) -> Pipeline:
    """The graph of a case's pipeline."""
    if case.name.endswith(".yaml"):
        return parse_ir(ir_of(CONFORMANCE / case.name, case.replace))
    import local_pipelines

    return compiled(getattr(local_pipelines, case.name.split()[0]))


def ir_of(file: Path, replace: tuple[tuple[str, str], ...] = ()) -> str:
    """The text of a conformance file, with its replacements."""
    text = file.read_text(encoding="utf-8")
    for old, new in replace:
        assert old in text, f"{file.name} holds no {old!r}"
        text = text.replace(old, new)
    return text


def compiled(function: Any) -> Pipeline:
    """A pipeline function compiled by kfp, and read."""
    from kfp import compiler

    with _COMPILING, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(function, str(file))
        return parse_ir(file.read_text(encoding="utf-8"))
