"""What the steps record, and that they never use a file with another digest than the recorded one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sluice.data.snapshots import digest_file
from sluice.engines.outcomes import read_error
from sluice.errors import CheckFailedError, ConfigurationError, DataError, IntegrityError, RolledBackError
from sluice.steps.curves import curves
from sluice.steps.records import RUN_FOLDER_VARIABLE, RUNTIME_VARIABLE, record_part, running_step
from sluice.steps.snapshots import restore_snapshot
from sluice.steps.training import build_model, verify_model

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def events(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def test_a_step_records_that_it_starts_waits_and_ends(run: Path) -> None:
    with running_step("train") as step:
        step.wait("for a free core")
        step.detail = "20,000 rows"
    assert [event["event"] for event in events(run)] == ["started", "waiting", "ended"]
    assert (events(run)[-1]["outcome"], events(run)[-1]["detail"]) == ("pass", "20,000 rows")


def test_a_failed_check_is_recorded_and_ends_the_step_with_its_exit_code(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, running_step("data-tests"):
        raise CheckFailedError("null_rate failed", hint="look at the page")
    assert ended.value.code == 4
    assert events(run)[-1] | {"time": 0} == {
        "time": 0,
        "step": "data-tests",
        "event": "ended",
        "outcome": "fail",
        "detail": "null_rate failed",
        "error": "null_rate failed",
        "hint": "look at the page",
        "exit_code": 4,
    }
    assert "next: look at the page" in capsys.readouterr().err


def test_an_unexpected_exception_is_recorded_and_raised_again(run: Path) -> None:
    with pytest.raises(ZeroDivisionError), running_step("train"):
        _ = 1 / 0
    assert events(run)[-1]["outcome"] == "fail"
    assert str(events(run)[-1]["detail"]).startswith("ZeroDivisionError")


def test_a_step_outside_a_run_writes_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckFailedError), running_step("gate"):
        raise CheckFailedError("no")
    record_part("gate", {})
    assert not list(tmp_path.iterdir())


def test_a_step_in_a_pod_prints_its_error_and_ends_with_its_exit_code_without_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv(RUNTIME_VARIABLE, "true")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended, running_step("canary"):
        raise RolledBackError("release 3 was rolled back", hint="Look at the report.")
    assert ended.value.code == 6
    assert read_error(capsys.readouterr().err.splitlines()) == ("release 3 was rolled back", "Look at the report.")
    assert not list(tmp_path.iterdir())


def test_a_restored_snapshot_has_its_suffix_and_its_digest_is_verified(tiny: Project, tmp_path: Path) -> None:
    artifact = tmp_path / "snapshot"
    artifact.write_text("id,y\n1,0\n")
    metadata = {"digest": digest_file(artifact), "suffix": ".csv"}
    path = restore_snapshot(tiny, artifact, metadata)
    assert path.suffix == ".csv"
    assert path.read_text() == artifact.read_text()
    path.write_text("id,y\n1,1\n")
    with pytest.raises(IntegrityError, match="does not have the digest"):
        restore_snapshot(tiny, artifact, metadata)


def test_a_model_with_another_digest_is_an_error(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert verify_model(model, {"digest": digest_file(model)}) == model
    with pytest.raises(IntegrityError) as caught:
        verify_model(model, {"digest": "sha256:" + "0" * 64})
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("build = 3\n", "is not callable"),
        ("def build(): return object()\n", "lacks fit or predict_proba"),
        ("def build(depth): return depth\n", "does not accept model.parameters"),
        ("def other(): pass\n", "has no 'build'"),
        ("import nowhere_to_be_found\n", "cannot be imported"),
    ],
)
def test_a_wrong_build_function_is_an_error_that_names_the_problem(
    tiny: Project, source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "tiny_model", raising=False)
    (tiny.root / "tiny_model.py").write_text(source)
    with pytest.raises(ConfigurationError, match=message):
        build_model(tiny)


def test_curves_of_rows_with_one_label_are_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="both classes, but 0 of 3") as refused:
        curves(np.zeros(3, dtype=np.int8), np.array([0.1, 0.2, 0.3]))
    assert refused.value.hint
    with pytest.raises(DataError, match="NaN"):
        curves(np.array([0, 1, 1], dtype=np.int8), np.array([0.1, np.nan, 0.3]))
