"""The golden rows reach packaging as a file, and a process of its own loads the model if no step of a run did."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import joblib
import pytest

from sluice.data.holdout import holdout_digest
from sluice.data.snapshots import digest_file
from sluice.errors import DataError, IntegrityError, RefusedError, ServiceError
from sluice.release.gate_statements import KEY_VARIABLE as GATE_KEY
from sluice.release.golden_answers import GoldenAnswers, answer_in_process, load_and_answer, read_golden_answers
from sluice.release.provenance import KEY_VARIABLE as PROVENANCE_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from release_project import Trained

MODEL, HOLDOUT = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def file(trained: Trained, tmp_path: Path) -> Path:
    """Golden rows as a step writes them."""
    golden = load_and_answer(trained.project, trained.model, digest_file(trained.model))
    GoldenAnswers(model=MODEL, holdout=HOLDOUT, golden=golden).write(tmp_path / "golden.json")
    return tmp_path / "golden.json"


class Script:
    """A model's file that runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (self.command,))


def test_golden_rows_are_read_as_they_were_written(trained: Trained, file: Path) -> None:
    found = read_golden_answers(file, model=MODEL, holdout=HOLDOUT)
    assert found.to_dict() == load_and_answer(trained.project, trained.model, digest_file(trained.model)).to_dict()


@pytest.mark.parametrize(("model", "holdout", "what"), [(HOLDOUT, HOLDOUT, "model"), (MODEL, MODEL, "holdout")])
def test_golden_rows_of_another_model_or_holdout_are_refused(file: Path, model: str, holdout: str, what: str) -> None:
    with pytest.raises(IntegrityError, match=f"the golden rows are of the {what} 'sha256:"):
        read_golden_answers(file, model=model, holdout=holdout)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expected": [0.5]}, "1 answers to"),
        ({"expected": [], "rows": []}, "0 answers to 0 rows"),
        ({"rows": [[1.0]], "expected": [0.5]}, "a row does not have 5 cells"),
        ({"expected": "many"}, "cannot be read as golden rows"),
        ({"columns": [{"name": "a", "surplus": 1}]}, "cannot be read as golden rows"),
        ({"rows": None}, "cannot be read as golden rows"),
    ],
)
def test_golden_rows_that_cannot_be_used_are_refused(file: Path, change: dict[str, object], reason: str) -> None:
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"golden": document["golden"] | change}))
    with pytest.raises(DataError, match=reason):
        read_golden_answers(file, model=MODEL, holdout=HOLDOUT)


def test_answers_that_are_no_probabilities_are_refused(file: Path) -> None:
    document = json.loads(file.read_text())
    document["golden"]["expected"][0] = 1.5
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"not in \[0, 1\]; row 0 is 1\.5"):
        read_golden_answers(file, model=MODEL, holdout=HOLDOUT)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.json").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as golden rows"):
        read_golden_answers(tmp_path / "golden.json", model=MODEL, holdout=HOLDOUT)


def test_a_process_of_its_own_gives_the_same_answers(trained: Trained) -> None:
    found = answer_in_process(trained.project, trained.model, digest_file(trained.model), holdout=holdout_digest(trained.project))
    assert found.to_dict() == load_and_answer(trained.project, trained.model, digest_file(trained.model)).to_dict()


def test_the_process_that_loads_the_model_gets_no_variable_with_a_key(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (GATE_KEY, PROVENANCE_KEY):
        monkeypatch.setenv(name, "/the/key.pem")
    monkeypatch.setenv("OTHER", "seen")
    joblib.dump(Script(f"(echo $PPID; env) > {tmp_path / 'seen'}"), tmp_path / "model")
    with pytest.raises(RefusedError, match="the model fails on rows of the holdout"):
        answer_in_process(trained.project, tmp_path / "model", digest_file(tmp_path / "model"), holdout=HOLDOUT)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert int(seen[0]) != os.getpid()
    assert "OTHER=seen" in seen
    assert not [line for line in seen if line.endswith("/the/key.pem")]


def test_a_model_that_cannot_be_loaded_is_reported_as_in_this_process(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"no model")
    with pytest.raises(DataError, match="cannot be loaded") as refused:
        answer_in_process(trained.project, tmp_path / "model", digest_file(tmp_path / "model"), holdout=HOLDOUT)
    assert "sluice run" in refused.value.hint


def test_a_process_that_ends_without_an_answer_is_an_error(trained: Trained, tmp_path: Path) -> None:
    joblib.dump(Script("kill -9 $PPID"), tmp_path / "model")
    with pytest.raises(ServiceError, match="ended with code -9"):
        answer_in_process(
            trained.project, tmp_path / "model", digest_file(tmp_path / "model"), holdout=digest_file(tmp_path / "model")
        )


def test_a_model_with_another_digest_is_loaded_by_no_process(trained: Trained, tmp_path: Path) -> None:
    joblib.dump(Script(f"touch {tmp_path / 'loaded'}"), tmp_path / "model")
    with pytest.raises(IntegrityError, match="has digest"):
        answer_in_process(trained.project, tmp_path / "model", digest_file(trained.model), holdout=HOLDOUT)
    assert not (tmp_path / "loaded").exists()
