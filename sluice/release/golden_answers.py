"""What a fitted model answered to the golden rows, as a file that packaging takes instead of the model.

Loading a model runs code that is in its file. Packaging may have the key of the provenance and the rights to push, so it gets
this file, checks it against the model's digest and the holdout's, and copies the model's bytes. In a pipeline the step `score`
writes the file. Outside a run, a process of its own loads the model (`answer_in_process`); this module is also its program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from sluice.data.holdout import holdout_digest, read_holdout
from sluice.errors import ConfigurationError, DataError, IntegrityError, RefusedError, ServiceError, SluiceError
from sluice.project.projects import read_project
from sluice.release import gate_statements, provenance
from sluice.release.golden_rows import GoldenRows, describe_bad_outputs, make_golden_rows
from sluice.release.manifest import write_json
from sluice.release.models.model_files import load_model

if TYPE_CHECKING:
    import pandas as pd

    from sluice.project.projects import Project

_AGAIN = "Run the pipeline again. Outside a run, `sluice gate ask` lets the model answer again."
_FAILURES = (ConfigurationError, DataError, IntegrityError, RefusedError)
"""What the process that loads a model may report."""

_DAMAGE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading a file of another format raises. Broken JSON and broken UTF-8 are among them."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GoldenAnswers:
    """The golden rows of one model.

    Attributes:
        model: The digest of the model's file.
        holdout: The digest of the holdout that the rows were chosen from.
        golden: The rows and the model's answers.
    """

    model: str
    holdout: str
    golden: GoldenRows

    def write(self, target: Path) -> None:
        """Write them as JSON. `read_golden_answers` reads it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(write_json({"model": self.model, "holdout": self.holdout, "golden": self.golden.to_dict()}))


def read_golden_answers(source: Path, *, model: str, holdout: str) -> GoldenRows:
    """Read what `GoldenAnswers.write` wrote, and check it. The process that wrote it ran code from a model's file.

    Args:
        source: The file.
        model: The digest of the model that is packaged.
        holdout: The digest of the present holdout.

    Raises:
        DataError: There is no such file, or it has another format.
        IntegrityError: The answers are of another model or of another holdout's rows.
    """
    try:
        document = json.loads(source.read_bytes())
        found = {"model": str(document["model"]), "holdout": str(document["holdout"])}
        golden = GoldenRows.from_dict(document["golden"])
        fault = _describe_fault(golden)
    except OSError as error:
        raise DataError(f"there are no golden rows in {source}: {error}", hint=_AGAIN) from error
    except _DAMAGE as error:
        raise DataError(f"{source} cannot be read as golden rows: {type(error).__name__}: {error}", hint=_AGAIN) from error
    if fault:
        raise DataError(f"the golden rows in {source} cannot be used: {fault}", hint=_AGAIN)
    for what, wanted in (("model", model), ("holdout", holdout)):
        if found[what] != wanted:
            shown = found[what][: len(wanted)]  # the file may contain a long text
            raise IntegrityError(f"the golden rows are of the {what} {shown!r}, but the step has {wanted!r}", hint=_AGAIN)
    return golden


def _describe_fault(golden: GoldenRows) -> str:
    """Say in one sentence what is wrong with golden rows; return an empty text if each row has one probability."""
    if not golden.rows or golden.expected.shape != (len(golden.rows),):
        return f"there are {golden.expected.size} answers to {len(golden.rows)} rows"
    if any(len(row) != len(golden.columns) for row in golden.rows):
        return f"a row does not have {len(golden.columns)} cells"
    return describe_bad_outputs(golden.expected)


def answer_golden_rows(model: Any, features: pd.DataFrame) -> GoldenRows:  # noqa: ANN401 - scikit-learn is untyped
    """Let a loaded model answer the golden rows with one numerical thread, as a server does.

    Args:
        model: The fitted pipeline.
        features: The holdout's test rows without label and id.

    Raises:
        DataError: There are no rows, or a column cannot be sent as JSON.
        RefusedError: The model fails on the rows, or it would answer differently when served than at training.
    """
    with threadpool_limits(1):
        return make_golden_rows(model, features)


def load_and_answer(project: Project, model: Path, digest: str) -> GoldenRows:
    """Load a model in this process, which runs code from its file, and let it answer the golden rows.

    Args:
        project: The project.
        model: The model's file.
        digest: The digest that training recorded. A file with another one is not loaded.

    Raises:
        DataError: The holdout or the model cannot be read.
        IntegrityError: The holdout is not the declared one, or the model does not have the digest.
        RefusedError: As in `answer_golden_rows`.
    """
    features = read_holdout(project, part="test").features
    project.put_first_on_path()
    return answer_golden_rows(load_model(model, digest), features)


def answer_in_process(project: Project, model: Path, digest: str, *, holdout: str) -> GoldenRows:
    """Let a process of its own load a model and answer the golden rows. It gets no variable that names a signing key.

    It has the rights of this process's user all the same, so it protects this process's memory and not the user's files.

    Args:
        project: The project.
        model: The model's file.
        digest: The digest that training recorded. A file with another one is not loaded.
        holdout: The digest of the holdout.

    Raises:
        DataError: The model cannot be loaded, or its answers cannot be read.
        IntegrityError: The model does not have the digest.
        RefusedError: The model may not be packaged. The message says why.
        ServiceError: The process ended without an answer.
    """
    secret = {gate_statements.KEY_VARIABLE, provenance.KEY_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in secret}
    with tempfile.TemporaryDirectory(prefix="sluice-golden-") as name:
        target, failure = Path(name) / "golden.json", Path(name) / "failure.json"
        arguments = map(str, (project.root, model, digest, target, failure))
        command = [sys.executable, "-m", "sluice.release.golden_answers", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0 and target.exists():
            return read_golden_answers(target, model=digest, holdout=holdout)
        told = json.loads(failure.read_text(encoding="utf-8")) if failure.exists() else {}
    for kind in _FAILURES:
        if told.get("kind") == kind.__name__:
            raise kind(told["message"], hint=told["hint"])
    last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
    raise ServiceError(
        f"the process that loads the model ended with code {done.returncode}: {last}",
        hint="Train the model again with `sluice run`.",
    )


def _main(root: str, model: str, digest: str, target: str, failure: str) -> None:
    """Load the model in this process, and write its answers, or why there are none."""
    project = read_project(Path(root))
    try:
        golden = load_and_answer(project, Path(model), digest)
        answers = GoldenAnswers(model=digest, holdout=holdout_digest(project), golden=golden)
        answers.write(Path(target))
    except SluiceError as error:
        told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        Path(failure).write_text(json.dumps(told), encoding="utf-8")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
