"""The nodes of a run that a real KFP 2.17.0 listed, as a tree, and the tasks of its pipeline in it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sluice.engines.kfp.node_trees import build_tree
from sluice.engines.kfp.run_statuses import describe_run, find_nodes
from sluice.engines.kfp.task_nodes import Task

LOOP = (Task("echo", "echo", 1), Task("condition-3", "condition-3", 1, is_group=True, parts=(Task("echo-2", "echo-2", 2),)))
TASKS = (
    Task("for-loop-2", "for-loop-2", is_group=True, parts=LOOP),
    Task("inner", "inner", is_group=True, parts=(Task("echo", "echo-3", 1),)),
    Task("fails", "fails"),
)
"""A loop over two items with a condition, a nested pipeline, and a step that fails. Each node has attempts."""


def read_answer() -> dict[str, Any]:
    run: dict[str, Any] = json.loads((Path(__file__).parent / "answers" / "loops.json").read_text())
    for fields in (run, *run["run_details"]["task_details"]):
        for name in ("start_time", "end_time", "created_at", "finished_at"):
            if fields.get(name):
                fields[name] = datetime.fromisoformat(fields[name])
    return run


def test_each_node_of_the_list_has_its_place_in_the_tree_and_its_own_state() -> None:
    details = read_answer()["run_details"]["task_details"]
    root = build_tree(details)
    assert root is not None
    every = [root]
    for node in every:
        every += node.children
    named = [node for node in details if node["display_name"]]  # one node of each run has neither a name nor a state
    assert len(every) == len(named)
    assert sorted(str(node.fields["task_id"]) for node in every) == sorted(node["task_id"] for node in named)
    assert [node.fields["state"] for node in every if node.name == "condition-3"] == ["SKIPPED", "SUCCEEDED"]


def test_the_tasks_of_a_loop_and_of_a_nested_pipeline_are_told_apart_although_they_have_one_name() -> None:
    found = find_nodes(read_answer(), TASKS)
    assert [(each.task.name, each.task.depth, each.node.fields["state"]) for each in found] == [
        ("for-loop-2", 0, "SUCCEEDED"),
        ("echo", 1, "SUCCEEDED"),
        ("condition-3", 1, "SKIPPED"),
        ("echo", 1, "SUCCEEDED"),
        ("condition-3", 1, "SUCCEEDED"),
        ("echo-2", 2, "SUCCEEDED"),
        ("fails", 0, "FAILED"),
        ("inner", 0, "SUCCEEDED"),
        ("echo", 1, "SUCCEEDED"),
    ]
    pods = {each.task.component: each.pods() for each in found}
    assert "loops-dhkr9-retry-system-container-impl-2606822495" in pods["fails"], "the name of the pod that failed"
    assert "loops-dhkr9-system-container-impl-326452402" in pods["echo-3"], "and of the one in the nested pipeline"


def test_a_run_with_a_failed_step_is_described_from_the_real_answer() -> None:
    run = read_answer()
    nodes = find_nodes(run, TASKS)
    (failed,) = [each.node.id for each in nodes if each.task.name == "fails"]
    log = "F1130 10:39:11.142740      17 main.go:59] failed to execute component: exit status 4"
    status = describe_run(run, TASKS, nodes, pipeline="loops", ui_url="http://kfp", now=0.0, logs={failed: log})
    assert status.reason.startswith("the step fails failed")
    assert status.exit_code == 4


def test_a_run_that_has_not_begun_has_no_tree() -> None:
    assert build_tree([]) is None
    assert build_tree([{"display_name": "loops-x", "child_tasks": None}]) is None
