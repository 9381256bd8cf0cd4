"""A retry keeps what succeeded, removes what failed and what comes after it, and opens the parts around it again."""

from __future__ import annotations

import pytest
from workflow_nodes import RUN, children, node, output, workflow

from sluice.engines.argo.approvals import plan_answer
from sluice.engines.argo.retries import plan_retry
from sluice.errors import StateError

NOW = "2026-11-30T06:00:00Z"


def failed_run() -> dict[str, object]:
    return workflow(
        node("", "DAG", "Failed", children=children("train"), outboundNodes=children("cleanup")),
        node("train", children=children("promote")),
        node("promote", "DAG", "Failed", children=children("promote.package"), outboundNodes=children("promote.canary")),
        node("promote.package", children=children("promote.tests")),
        node("promote.tests", "Retry", "Failed", children=children("promote.tests(0)", "promote.tests(1)", "promote.canary")),
        node("promote.tests(0)", phase="Failed", nodeFlag={"retried": True}),
        node("promote.tests(1)", phase="Failed", nodeFlag={"retried": True}),
        node("promote.canary", "Skipped", "Omitted"),
        node("cleanup", "Skipped", "Omitted"),
        {**node("x", phase="Failed"), "id": f"{RUN}-exit", "name": f"{RUN}.onExit"},
        phase="Failed",
        shutdown="Stop",
        activeDeadlineSeconds=0,
    )


def test_only_the_failed_steps_run_again() -> None:
    plan = plan_retry(failed_run(), now=NOW)
    nodes = plan.workflow["status"]["nodes"]
    assert set(nodes) == {RUN, *children("train", "promote", "promote.package", "promote.tests")}
    assert plan.pods == set(children("promote.tests(0)", "promote.tests(1)")) | {f"{RUN}-exit"}
    assert {key: each["phase"] for key, each in nodes.items() if each["phase"] == "Running"} == dict.fromkeys(
        [RUN, *children("promote", "promote.tests")], "Running"
    )
    assert nodes[f"{RUN}-promote.tests"]["children"] == []
    assert nodes[RUN]["outboundNodes"] == []
    assert "finishedAt" not in nodes[RUN]


def test_the_workflow_loses_the_marks_of_its_end_and_keeps_its_version() -> None:
    found = plan_retry(failed_run(), now=NOW).workflow
    assert "workflows.argoproj.io/completed" not in found["metadata"]["labels"]
    assert found["metadata"]["resourceVersion"] == "7"
    assert found["spec"] == {"workflowTemplateRef": {"name": "shop-release"}}
    assert (found["status"]["phase"], found["status"]["startedAt"]) == ("", NOW)
    assert "finishedAt" not in found["status"]
    assert {"type": "Completed", "status": "False"} in found["status"]["conditions"]


def test_a_failure_that_later_steps_have_survived_is_not_repeated() -> None:
    run = workflow(
        node("", "DAG", "Failed", children=children("optional")),
        node("optional", phase="Failed", children=children("report")),
        node("report", children=children("publish")),
        node("publish", phase="Failed"),
        phase="Failed",
    )
    plan = plan_retry(run, now=NOW)
    assert plan.steps == ("publish",)
    assert plan.pods == set(children("publish"))


@pytest.mark.parametrize("phase", ["Running", "Succeeded", ""])
def test_only_a_failed_run_can_be_retried(phase: str) -> None:
    with pytest.raises(StateError, match="only a failed run can be retried"):
        plan_retry(workflow(node("", "DAG"), phase=phase), now=NOW)


def waiting_run(**fields: object) -> dict[str, object]:
    supplied = {
        "parameters": [
            {"name": "Output", "valueFrom": {"supplied": {}}},
            {"name": "why", "valueFrom": {"supplied": {}, "default": ""}},
        ]
    }
    return workflow(
        node("", "DAG", "Running"),
        node("gate", outputs=output("true")),
        node("approval", "Suspend", "Running", outputs=supplied, **fields),
        phase="Running",
        suspend=True,
    )


def test_an_answer_reaches_the_outputs_of_the_waiting_step_as_it_was_given() -> None:
    found, step = plan_answer(waiting_run(), {"Output": "ada {{x}}"}, message="answered by ada", now=NOW)
    answered = found["status"]["nodes"][f"{RUN}-approval"]
    assert step == "approval"
    assert answered["outputs"]["parameters"] == [{"name": "Output", "value": "ada {{x}}"}, {"name": "why", "value": ""}]
    assert (answered["phase"], answered["finishedAt"], answered["message"]) == ("Succeeded", NOW, "answered by ada")
    assert found["status"]["nodes"][f"{RUN}-gate"] == node("gate", outputs=output("true"))
    assert "suspend" not in found["spec"]


def test_a_run_that_waits_for_nothing_or_for_something_else_is_refused() -> None:
    with pytest.raises(StateError, match="waits for no answer"):
        plan_answer(failed_run(), {"Output": "ada"}, message="", now=NOW)
    with pytest.raises(StateError, match="needs a value for its output 'Output'"):
        plan_answer(waiting_run(), {}, message="", now=NOW)
    two = waiting_run()
    two["status"]["nodes"]["other"] = node("second", "Suspend", "Running")  # type: ignore[index]
    with pytest.raises(StateError, match=r"2 steps .* wait for an answer \(approval, second\)"):
        plan_answer(two, {"Output": "ada"}, message="", now=NOW)
