"""The outcome of a run and its exit code, and what the log of a failed step adds."""

from __future__ import annotations

import pytest

from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.outcomes import FinishedStep, conclude, exit_code_of, explain_failure, read_error

LOG = ["Traceback", "error: check auc failed: 0.61 < 0.80", "next: Look at the page.", "time=… level=INFO"]


@pytest.mark.parametrize(
    ("outcome", "steps", "code"),
    [
        ("promoted", [], 0),
        ("rolled_back", [{"exit_code": 6}], 6),
        ("failed", [{"name": "a"}, {"exit_code": 4}], 4),
        ("failed", [], 1),
        ("interrupted", [], 130),
    ],
)
def test_the_exit_code_is_that_of_the_outcome_or_of_the_failed_step(
    outcome: str, steps: list[dict[str, object]], code: int
) -> None:
    assert exit_code_of(outcome, steps) == code


def test_the_log_of_the_failed_step_says_why_and_what_to_do_next() -> None:
    assert read_error(LOG) == ("check auc failed: 0.61 < 0.80", "Look at the page.")
    assert read_error(["nothing"]) == ("", "")
    failed = RunStatus(
        summary=RunSummary(id="r", engine="argo", pipeline="ci", outcome="failed"),
        steps=(
            StepStatus(id="g", name="promote", outcome="fail", is_group=True),
            StepStatus(id="m", name="model-tests", outcome="fail", depth=1),
        ),
        ended=True,
        reason="the step model-tests failed: main: Error (exit code 4)",
        exit_code=4,
    )
    found = explain_failure(failed, LOG)
    assert (found.reason, found.hint) == (
        "the step promote / model-tests failed: check auc failed: 0.61 < 0.80",
        "Look at the page.",
    )
    assert found.exit_code == 4
    assert explain_failure(failed, []) is failed


def test_a_run_whose_first_step_found_nothing_new_says_why_it_trained_nothing() -> None:
    found = conclude([FinishedStep(component="pin-snapshot", outcome="pass", output=False)], state="succeeded")
    assert (found.name, found.exit_code) == ("unchanged", 0)
    assert found.reason == "the champion was made from this snapshot and this code, so nothing was trained"


def test_a_running_run_has_no_exit_code_yet() -> None:
    found = conclude([FinishedStep(component="gate", outcome="pass", output=True)], state="running")
    assert (found.name, found.exit_code, found.gate) == ("running", 0, "promote")
