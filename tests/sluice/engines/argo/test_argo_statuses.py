"""The status of a Workflow becomes a tree of steps and an outcome."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from workflow_nodes import LATER, RUN, children, node, output, workflow

from sluice.engines.argo.node_storage import read_nodes, with_nodes
from sluice.engines.argo.run_statuses import describe_workflow, find_steps
from sluice.errors import UnsupportedError

ROOT = node("", "DAG", children=children("train"))
GATE = node("gate", outputs=output("true", 0))
PROMOTE = node("promote", "DAG", templateName="condition-1")
PACKAGE = node("promote.package", outputs=output('"sha256:0123456789abcdef"', 0))
CANARY = node("promote.canary", outputs=output('"promoted"', 0))


def describe(*nodes: dict[str, Any], phase: str = "Succeeded", **spec: Any) -> Any:
    return describe_workflow(workflow(*nodes, phase=phase, **spec), now=1_796_000_000.0, ui_url="https://argo.example/")


def test_a_promoted_run_has_its_release_its_gate_and_its_tree() -> None:
    found = describe(ROOT, node("train"), GATE, PROMOTE, PACKAGE, CANARY)
    assert (found.summary.outcome, found.summary.gate, found.summary.release) == ("promoted", "promote", "sha256:0123456789ab")
    assert (found.summary.pipeline, found.summary.seconds, found.ended, found.exit_code) == ("release", 60, True, 0)
    assert found.summary.url == f"https://argo.example/workflows/ml/{RUN}"
    assert [(step.name, step.depth, step.is_group) for step in found.steps] == [
        ("gate", 0, False),
        ("promote", 0, True),
        ("canary", 1, False),
        ("package", 1, False),
        ("train", 0, False),
    ]


@pytest.mark.parametrize(
    ("nodes", "phase", "outcome", "code"),
    [
        ([node("gate", outputs=output("false", 0)), node("promote", "Skipped", "Skipped")], "Succeeded", "kept", 0),
        ([node("drift", outputs=output("false", 0)), node("drifted", "Skipped", "Skipped")], "Succeeded", "kept", 0),
        ([node("pin-snapshot", outputs=output("false", 0)), node("new", "Skipped", "Skipped")], "Succeeded", "unchanged", 0),
        ([node("pin-snapshot", outputs=output("false", 0)), node("train"), GATE, PACKAGE], "Succeeded", "passed", 0),
        ([node("pin-snapshot", outputs=output("true", 0)), node("train"), GATE, PACKAGE], "Succeeded", "passed", 0),
        ([GATE, PACKAGE], "Succeeded", "passed", 0),
        ([node("data-tests", phase="Failed", outputs={"exitCode": "4"})], "Failed", "failed", 4),
        ([node("gate", phase="Failed", outputs={"exitCode": "4"})], "Failed", "undecided", 4),
        ([node("canary", phase="Failed", outputs={"exitCode": "6"})], "Failed", "rolled_back", 6),
        ([node("train", phase="Failed", outputs={"exitCode": "1"})], "Failed", "failed", 1),
        (
            [node("train", phase="Failed", outputs={"exitCode": "137"}, message="OOMKilled (exit code 137)")],
            "Failed",
            "failed",
            5,
        ),
        ([node("train", phase="Error", message="pod deleted")], "Error", "failed", 5),
        ([], "Error", "failed", 5),
    ],
)
def test_the_outcome_follows_from_the_outputs_of_the_nodes(
    nodes: list[dict[str, Any]], phase: str, outcome: str, code: int
) -> None:
    found = describe(ROOT, *nodes, phase=phase)
    assert (found.summary.outcome, found.exit_code) == (outcome, code)
    assert found.reason


def test_a_file_or_a_step_of_another_name_says_nothing_about_the_gate() -> None:
    found = describe(ROOT, node("investigate", outputs=output("false", 0)))
    assert (found.summary.outcome, found.summary.gate) == ("passed", "")


def test_a_suspended_approval_is_a_run_that_waits_and_names_the_step() -> None:
    waiting = node("promote.approval", "Suspend", "Running", finishedAt=None)
    found = describe(ROOT, GATE, PROMOTE | {"phase": "Running"}, PACKAGE, waiting, phase="Running")
    assert (found.summary.outcome, found.ended, found.exit_code) == ("waiting", False, 0)
    assert found.reason == "the step approval waits for an answer"


def test_a_run_that_a_person_stopped_is_interrupted() -> None:
    found = describe(ROOT, node("train", phase="Failed"), phase="Failed", shutdown="Stop")
    assert (found.summary.outcome, found.exit_code) == ("interrupted", 130)


def test_the_attempts_of_a_step_are_one_line_with_their_number() -> None:
    attempts = [node(f"train({n})", phase="Failed", nodeFlag={"retried": True}) for n in range(2)]
    retry = node("train", "Retry", "Running", children=children("train(0)", "train(1)"), message="No more retries left")
    found = describe(ROOT, retry, *attempts, phase="Running")
    assert [(step.name, step.detail) for step in found.steps] == [("train", "attempt 2: No more retries left")]


def test_a_memoized_step_and_an_exit_handler_are_shown() -> None:
    cached = node("train", memoizationStatus={"hit": True})
    handler = {**node("x"), "name": f"{RUN}.onExit", "displayName": f"{RUN}.onExit", "startedAt": LATER}
    del handler["boundaryID"]
    found = describe(ROOT, cached, handler)
    assert [step.cached for step in found.steps] == [True, False]


def test_a_run_before_its_first_node_is_running() -> None:
    fresh = workflow(phase="")
    fresh["status"] = {}
    found = describe_workflow(fresh, now=0)
    assert (found.summary.outcome, found.summary.seconds, found.steps) == ("running", None, ())


def test_compressed_nodes_are_read_and_written_and_those_in_a_database_are_refused() -> None:
    plain = workflow(ROOT, GATE)
    packed = base64.b64encode(gzip.compress(json.dumps(plain["status"]["nodes"]).encode())).decode()
    small = {**plain, "status": {"phase": "Succeeded", "compressedNodes": packed}}
    assert read_nodes(small) == plain["status"]["nodes"]
    large = {f"n{number}": node(f"step{number}", message="x" * 200) for number in range(4000)}
    stored = with_nodes(plain, large, phase="")
    assert "nodes" not in stored["status"]
    assert read_nodes(stored) == large
    with pytest.raises(UnsupportedError, match="in Argo's database"):
        read_nodes({**plain, "status": {"offloadNodeStatusVersion": "fnv:1"}})


def test_a_step_is_found_by_what_the_tree_shows_by_its_component_and_by_its_path() -> None:
    shown = node("promote.package", displayName="Package it", templateName="package")
    first = node("train(0)", nodeFlag={"retried": True}, templateName="train")
    found = workflow(ROOT, PROMOTE, shown, first)
    for name in ("Package it", "package", "promote.package"):
        assert [each["id"] for each in find_steps(found, name)] == [shown["id"]]
    assert [each["id"] for each in find_steps(found, "train")] == [first["id"]]
    assert find_steps(found, "promote") == []
    assert len(find_steps(found, "")) == 2
