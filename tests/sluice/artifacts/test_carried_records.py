"""A step puts its record into an output artifact, and what a list of runs shows into the artifact's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluice import carried_records
from sluice.carried_records import PRINTED, find_printed_record, keep_record, read_lines
from sluice.errors import CheckFailedError
from sluice.run_warnings import RunWarning
from sluice.steps.records import record_part, record_warnings, running_step

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be a step's pod: it has no run folder, and its carrier is gone at the end."""
    monkeypatch.delenv("SLUICE_RUN_FOLDER", raising=False)
    monkeypatch.setattr(carried_records, "_carriers", [])


def test_events_parts_and_warnings_are_lines_of_the_artifact(tmp_path: Path) -> None:
    file, metadata = tmp_path / "deep" / "record", dict[str, Any]()
    keep_record(str(file), metadata)
    with running_step("gate") as step:
        record_part("gate", {"promote": True, "difference": 0.02})
        record_part("release", {"number": 3, "digest": "sha256:ab", "manifest": {"big": [1] * 100}})
        record_warnings("gate", [RunWarning(kind="old", text="it is old", hint="renew it")])
        step.detail = "better by 0.02"
    lines = list(read_lines(file.read_text()))
    assert [line["event"]["event"] for line in lines if "event" in line] == ["started", "ended"]
    assert [line["part"] for line in lines if "part" in line] == ["gate", "release", "warnings-gate"]
    assert metadata == {
        "detail": "better by 0.02",
        "gate": {"promote": True, "difference": 0.02},
        "release": {"number": 3, "digest": "sha256:ab"},
    }


def test_without_an_artifact_nothing_is_written(tmp_path: Path) -> None:
    with running_step("gate"):
        record_part("gate", {"promote": True})
    assert not list(tmp_path.iterdir())


def fail() -> None:
    with running_step("model-tests"):
        record_part("layer-model", {"layer": "model", "outcome": "fail"})
        raise CheckFailedError("AUC is 0.6", hint="Train more.")


@pytest.mark.parametrize("on_kfp", [True, False])
def test_a_step_that_fails_prints_its_record_on_kfp_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], on_kfp: bool
) -> None:
    if on_kfp:
        monkeypatch.setenv("KFP_POD_NAME", "wf-1")
    file = tmp_path / "record"
    keep_record(str(file), {})
    with pytest.raises(CheckFailedError):
        fail()
    log = [f"I1130 launcher.go] {line}" for line in capsys.readouterr().err.splitlines()]
    found = find_printed_record(["before", *log, "after"])
    assert found == (file.read_text() if on_kfp else "")
    ended = next(line["event"] for line in read_lines(file.read_text()) if line.get("event", {}).get("event") == "ended")
    assert (ended["outcome"], ended["error"], ended["hint"]) == ("fail", "AUC is 0.6", "Train more.")


def test_a_line_that_was_cut_is_left_out_and_a_damaged_line_in_a_log_is_no_record() -> None:
    assert list(read_lines('{"part": "gate", "document": {}}\n[1]\n{"part": "rel')) == [{"part": "gate", "document": {}}]
    assert find_printed_record([f"{PRINTED}not base64!", "x"]) == ""
    assert find_printed_record([f"{PRINTED}aGVsbG8="]) == ""
