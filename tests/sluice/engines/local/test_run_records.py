"""The records of runs: when a run has the same inputs as an earlier one, and how its outcome follows from its steps."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from sluice.engines.local.runs import (
    assemble_run,
    determine_outcome,
    find_run_with_same_inputs,
    inputs_digest,
    read_events,
    read_run,
    start_record,
    summarise_steps,
    write_run,
)
from sluice.errors import DataError
from sluice.steps.ledgers import open_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def step(name: str, outcome: str = "pass", **more: Any) -> dict[str, Any]:
    return {"name": name, "outcome": outcome, "started": 1.0, "ended": 2.0, "detail": f"{name} detail", **more}


@pytest.mark.parametrize(
    ("steps", "parts", "succeeded", "outcome"),
    [
        ([step("gate"), step("canary")], {"gate": {"promote": True}}, True, "promoted"),
        ([step("gate")], {"gate": {"promote": False}}, True, "kept"),
        ([step("gate"), step("canary")], {"gate": {"promote": False, "override": {"by": "ada"}}}, True, "promoted"),
        (
            [step("gate", "fail", exit_code=4, error="spent")],
            {"gate": {"verdict": {"outcome": "inconclusive"}}},
            False,
            "undecided",
        ),
        ([step("gate", "fail", exit_code=4, error="digest")], {}, False, "failed"),
        (
            [step("gate", "fail", exit_code=2, error="ledger")],
            {"gate": {"verdict": {"outcome": "inconclusive"}}},
            False,
            "failed",
        ),
        ([step("gate"), step("package")], {"gate": {"promote": True}}, True, "passed"),
        ([step("data-tests", "fail", exit_code=4, error="null_rate")], {}, False, "failed"),
        ([step("approval", "fail", exit_code=4, error="no approval")], {}, False, "rejected"),
        ([step("canary", "fail", exit_code=6, error="e-value")], {"gate": {"promote": True}}, False, "rolled_back"),
        ([step("train")], {}, False, "failed"),
        ([], {}, False, "failed"),
    ],
)
def test_the_outcome_of_a_run_follows_from_its_steps_and_parts(
    steps: list[dict[str, Any]], parts: dict[str, Any], succeeded: bool, outcome: str
) -> None:
    found, reason = determine_outcome(steps, parts, succeeded=succeeded)
    assert found == outcome
    assert reason


def test_a_run_that_found_nothing_new_is_unchanged_only_if_it_trained_nothing() -> None:
    parts = {"snapshot": {"new": False, "novelty": "release 3, the champion, is the same"}}
    found = determine_outcome([step("pin-snapshot")], parts, succeeded=True)
    assert found == ("unchanged", "release 3, the champion, is the same, so nothing was trained")
    assert determine_outcome([step("pin-snapshot"), step("train")], parts, succeeded=True)[0] == "passed"
    assert determine_outcome([step("pin-snapshot")], {"snapshot": {"new": True, "novelty": ""}}, succeeded=True)[0] == "passed"
    assert determine_outcome([step("pin-snapshot")], {"snapshot": {}}, succeeded=True)[0] == "passed"  # an earlier version
    assert determine_outcome([step("pin-snapshot"), step("code-tests", "fail")], parts, succeeded=False)[0] == "failed"


@pytest.mark.parametrize(
    ("part", "outcome"),
    [
        ({"drifted": [], "outcome": "steady"}, "kept"),
        ({"drifted": [], "outcome": "inconclusive"}, "undecided"),
        ({"drifted": []}, "kept"),  # a record of an earlier version
        ({"drifted": ["spend"], "outcome": "drifted"}, "passed"),
    ],
)
def test_a_run_that_cannot_decide_about_drift_is_undecided(part: dict[str, Any], outcome: str) -> None:
    found = determine_outcome([step("drift", "pass")], {"drift": {**part, "detail": "the reason"}}, succeeded=True)
    assert found[0] == outcome
    assert outcome == "passed" or found[1] == "the reason"


def test_the_reason_of_a_passed_run_names_its_steps_and_counts_the_checks_of_each_layer() -> None:
    steps = [step("train"), step("code-tests", detail="12 checks"), step("model-tests", detail="1 check, 1 unproven")]
    expected = "every step passed: train, code-tests (12 checks), model-tests (1 check, 1 unproven)"
    assert determine_outcome(steps, {}, succeeded=True) == ("passed", expected)


def test_the_reason_of_a_failed_run_is_the_error_of_the_failed_step() -> None:
    assert determine_outcome([step("data-tests", "fail", error="null_rate: 40 %")], {}, succeeded=False)[1] == "null_rate: 40 %"


def test_the_digest_of_the_inputs_changes_with_code_data_holdout_and_pipeline(small_project: Project) -> None:
    first = inputs_digest(small_project, "good", {"snapshot": ""})
    assert inputs_digest(small_project, "good", {"snapshot": ""}) == first
    assert inputs_digest(small_project, "failing", {"snapshot": ""}) != first
    for name in ("rows.csv", "holdout.csv", "small_flows.py"):
        file = small_project.root / name
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        assert inputs_digest(small_project, "good", {"snapshot": ""}) != first, name
        file.write_bytes(before)
    (small_project.root / "NOTES.md").write_text("words")
    assert inputs_digest(small_project, "good", {"snapshot": ""}) == first


def test_a_valid_override_of_the_gate_changes_the_inputs_so_that_the_pipeline_runs_again(small_project: Project) -> None:
    first = inputs_digest(small_project, "good", {"snapshot": ""})
    ledger, now = open_ledger(small_project), time.time()
    ledger.override("sha256:m", "sha256:s", by="ada", why="it was needed", until=now - 1, at=now - 60)
    assert inputs_digest(small_project, "good", {"snapshot": ""}) == first  # it has expired
    ledger.override("sha256:m", "sha256:s", by="ada", why="it is needed", until=now + 3600, at=now)
    assert inputs_digest(small_project, "good", {"snapshot": ""}) != first
    (small_project.state / "ledger" / "ledger.json").write_text("{")
    assert inputs_digest(small_project, "good", {"snapshot": ""}) == first  # the gate refuses this ledger itself


def test_only_a_successful_run_counts_as_a_run_with_the_same_inputs(small_project: Project) -> None:
    run = start_record(small_project, "good", {"snapshot": ""})[0]
    inputs = read_run(run)["inputs"]
    assert find_run_with_same_inputs(small_project, inputs) is None
    write_run(run, read_run(run) | {"outcome": "failed"})
    assert find_run_with_same_inputs(small_project, inputs) is None
    write_run(run, read_run(run) | {"outcome": "kept"})
    found = find_run_with_same_inputs(small_project, inputs)
    assert found is not None
    assert found["id"] == run.name


def test_read_events_ignores_a_half_written_last_line(tmp_path: Path) -> None:
    whole = json.dumps({"time": 1.0, "step": "train", "event": "started"})
    (tmp_path / "events.jsonl").write_text(whole + "\n" + whole[:20])
    assert len(read_events(tmp_path)) == 1


def test_a_step_without_an_end_is_running_or_interrupted_if_the_run_was(small_project: Project) -> None:
    run = start_record(small_project, "good", {})[0]
    (run / "events.jsonl").write_text(json.dumps({"time": 1.0, "step": "train", "event": "started", "detail": ""}) + "\n")
    assert summarise_steps(read_events(run))[0]["outcome"] == "running"
    document = assemble_run(run, succeeded=False, interrupted=True)
    assert (document["outcome"], document["steps"][0]["outcome"]) == ("interrupted", "interrupted")


def test_a_folder_without_a_record_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_run(tmp_path)
    assert caught.value.hint
