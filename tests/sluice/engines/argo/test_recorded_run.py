"""A failed run as Argo 4.1.2 stored it: a step with two attempts inside a nested pipeline, recorded on 2026-11-30.

Kubernetes was 1.34.4. The namespace was renamed, and the copy of the template and the names of machines were left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sluice.engines.argo.engine import OF_EXECUTOR
from sluice.engines.argo.retries import plan_retry
from sluice.engines.argo.run_statuses import describe_workflow, find_steps

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_failed_run.json").read_text(encoding="utf-8"))
RUN = RECORDED["metadata"]["name"]


def test_the_tree_names_the_nested_step_its_attempts_and_its_failure() -> None:
    found = describe_workflow(RECORDED, now=0.0)
    shown = [(step.name, step.depth, step.outcome, step.is_group) for step in found.steps]
    assert shown == [("inner", 0, "fail", True), ("fail", 1, "fail", False)]
    assert found.steps[1].detail == "attempt 2: No more retries left"
    assert found.reason.startswith("the step inner / fail failed")
    assert (found.summary.outcome, found.summary.pipeline, found.exit_code) == ("failed", "nested", 1)


def test_the_logs_of_a_step_are_those_of_both_attempts() -> None:
    assert [node["displayName"] for node in find_steps(RECORDED, "fail")] == ["fail(0)", "fail(1)"]


def test_lines_of_argos_executor_are_told_from_those_of_the_step() -> None:
    recorded = 'time=2026-11-30T06:37:21.361Z level=INFO msg="sub-process exited" argo=true error="exit status 6"'
    assert OF_EXECUTOR.match(recorded)
    assert not OF_EXECUTOR.match('time=2026-11-30T06:37:21Z level=INFO msg="my own line" app=shop')


def test_a_retry_removes_both_attempts_and_opens_everything_around_them() -> None:
    plan = plan_retry(RECORDED, now="2026-11-30T07:00:00Z")
    kept = plan.workflow["status"]["nodes"]
    assert sorted(node["name"] for node in kept.values()) == [RUN, f"{RUN}.inner", f"{RUN}.inner.fail"]
    assert {node["phase"] for node in kept.values()} == {"Running"}
    assert all(not set(node.get("children") or ()) - set(kept) for node in kept.values())
    assert len(plan.pods) == 2
