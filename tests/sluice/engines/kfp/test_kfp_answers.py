"""What KFP's API answers becomes steps, an outcome and a schedule. Field names follow kfp-server-api 2.17.0."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from kfp_nodes import list_nodes, pod_of, step_node

from sluice.engines import SchedulePlan
from sluice.engines.kfp.connection import explain
from sluice.engines.kfp.engine import check_no_templates
from sluice.engines.kfp.run_statuses import describe_run, find_nodes
from sluice.engines.kfp.schedules import check_plan, concurrent_runs, describe_plan, describe_recurring, to_cron
from sluice.engines.kfp.task_nodes import Task
from sluice.errors import DataError, ServiceError, SluiceError, StateError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kfp_nodes import Part

PROMOTE = (Task("package", "package", 1), Task("canary", "canary", 1))
TASKS = (Task("train", "train"), Task("gate", "gate"), Task("promote", "condition-1", is_group=True, parts=PROMOTE))
T0 = datetime(2026, 11, 30, 5, tzinfo=UTC)
DONE = "SUCCEEDED"


def describe(state: str, *parts: Part, logs: dict[str, str] | None = None, tasks: Sequence[Task] = TASKS) -> Any:
    run = {
        "run_id": "r1",
        "state": state,
        "created_at": T0,
        "finished_at": T0,
        "run_details": {"task_details": list_nodes(*parts, start=T0)},
        "error": None,
    }
    return describe_run(
        run, tasks, find_nodes(run, tasks), pipeline="release", ui_url="http://kfp", now=T0.timestamp() + 5, logs=logs
    )


def done(*names: str) -> list[Part]:
    return [(name, DONE) for name in names]


def test_a_run_shows_the_tasks_of_its_pipeline_and_neither_drivers_nor_executors() -> None:
    found = describe(DONE, *done("train", "gate"), ("promote", DONE, *done("package", "canary")))
    shown = [(step.name, step.depth) for step in found.steps]
    assert shown == [("train", 0), ("gate", 0), ("promote", 0), ("package", 1), ("canary", 1)]
    assert (found.summary.outcome, found.summary.gate) == ("promoted", "promote")
    assert found.summary.url == "http://kfp/#/runs/details/r1"


def test_a_condition_that_was_not_met_says_that_the_gate_kept_the_champion() -> None:
    found = describe(DONE, *done("train", "gate"), ("promote", "SKIPPED"))
    assert (found.summary.outcome, found.summary.gate, found.exit_code) == ("kept", "keep", 0)


PIN = Task("pin-snapshot", "pin-snapshot")
RETRAIN = (PIN, Task("new", "condition-0", is_group=True, parts=TASKS))
DRIFT = (
    PIN,
    Task(
        "new",
        "condition-0",
        is_group=True,
        parts=(Task("drift", "drift", 1), Task("drifted", "c", 1, is_group=True, parts=TASKS)),
    ),
)


PROMOTED = ("promote", DONE, *done("package", "canary"))


@pytest.mark.parametrize(
    ("tasks", "new", "outcome"),
    [
        (RETRAIN, ("new", "SKIPPED"), "unchanged"),
        (RETRAIN, ("new", DONE, *done("train", "gate")), "kept"),
        (DRIFT, ("new", "SKIPPED"), "unchanged"),
        (DRIFT, ("new", DONE, ("drift", DONE), ("drifted", "SKIPPED")), "kept"),
        (
            DRIFT,
            (
                "new",
                DONE,
                ("drift", DONE),
                ("drifted", DONE, *done("train", "gate"), ("promote", DONE, *done("package", "canary"))),
            ),
            "promoted",
        ),
    ],
)
def test_a_condition_that_was_not_met_says_that_nothing_was_new(tasks: Sequence[Task], new: Part, outcome: str) -> None:
    found = describe(DONE, ("pin-snapshot", DONE), new, tasks=tasks)
    assert (found.summary.outcome, found.exit_code) == (outcome, 0)


@pytest.mark.parametrize(
    ("path", "log", "outcome", "code"),
    [
        (("promote", "canary"), "failed to execute component: exit status 6", "rolled_back", 6),
        (("gate",), "failed to execute component: exit status 4", "undecided", 4),
        (("train",), "exit status 1", "failed", 1),
        (("train",), "", "failed", 5),
    ],
)
def test_the_exit_code_of_a_failed_step_comes_from_the_log_of_the_launcher(
    path: tuple[str, ...], log: str, outcome: str, code: int
) -> None:
    part: Part = (path[-1], "FAILED")
    found = describe("FAILED", *([("promote", "FAILED", part)] if len(path) > 1 else [part]), logs={step_node(*path): log})
    assert (found.summary.outcome, found.exit_code) == (outcome, code)


def test_a_step_whose_driver_failed_is_named_because_it_never_ran() -> None:
    found = describe("FAILED", ("train", DONE), ("promote", "FAILED", ("package-driver", "FAILED")))
    (failed,) = [step for step in found.steps if step.outcome == "fail" and not step.is_group]
    assert (failed.name, failed.depth) == ("package", 1)
    assert found.reason == "the step promote / package failed: KFP's driver failed before the step started"


@pytest.mark.parametrize(("state", "outcome", "ended"), [("RUNNING", "running", False), ("CANCELED", "interrupted", True)])
def test_the_state_of_a_run_is_its_outcome(state: str, outcome: str, ended: bool) -> None:
    found = describe(state, ("train", "RUNNING"))
    assert (found.summary.outcome, found.ended) == (outcome, ended)


def test_a_run_waits_while_its_approval_step_looks_for_the_approval() -> None:
    tasks = (*TASKS[:2], Task("approval", "approval"))
    found = describe("RUNNING", *done("train", "gate"), ("approval", "RUNNING"), tasks=tasks)
    assert (found.summary.outcome, found.steps[-1].outcome) == ("waiting", "waiting")
    assert found.reason == "the step approval waits for the approval of the release"
    assert "sluice rollout approve" in found.hint


def test_the_pod_of_a_step_is_that_of_its_executor_or_of_its_driver() -> None:
    parts: list[Part] = [("train", DONE), ("gate-driver", "FAILED"), ("promote", DONE, ("package", DONE))]
    run = {"run_details": {"task_details": list_nodes(*parts, start=T0)}}
    nodes = {each.task.name: each for each in find_nodes(run, TASKS)}
    assert nodes["train"].pods()[0] == pod_of("train")
    assert nodes["gate"].pods()[0].startswith("wf-system-container-driver-")
    assert nodes["package"].pods()[0] == pod_of("promote", "package")
    assert nodes["promote"].pods() == []


PLAN = SchedulePlan(pipeline="retrain", cron="17 4 * * 1")


def test_a_schedule_is_told_with_seconds_and_refused_where_kfp_has_no_such_thing() -> None:
    assert to_cron(PLAN) == "0 17 4 * * 1"
    assert to_cron(SchedulePlan(pipeline="retrain", cron="@weekly")) == "0 0 0 * * 0"
    assert concurrent_runs(PLAN) == 1
    check_plan(PLAN, timezone="UTC")
    for plan, message in (
        (SchedulePlan(pipeline="p", cron="@daily", concurrency="Replace"), "no concurrency Replace"),
        (SchedulePlan(pipeline="p", cron="@daily", timezone="Europe/Berlin"), "one time zone for all schedules"),
        (SchedulePlan(pipeline="p", cron="@every 2h"), "no @every 2h"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            check_plan(plan, timezone="UTC")


def test_a_recurring_run_is_described_by_what_was_applied() -> None:
    found = {
        "recurring_run_id": "s1",
        "description": describe_plan(PLAN, "shop-retrain-0123"),
        "status": "ENABLED",
        "created_at": datetime(2026, 11, 1, tzinfo=UTC),
        "updated_at": None,
        "error": None,
    }
    now = datetime(2026, 11, 30, 5, tzinfo=UTC).timestamp()
    status = describe_recurring(found, last=None, now=now)
    assert (status.pipeline, status.cron, status.paused) == ("retrain", "17 4 * * 1", False)
    assert status.missed == "no run started at 2026-11-30 04:17 UTC"
    paused = describe_recurring(found | {"status": "DISABLED"}, last=None, now=now)
    assert (paused.paused, paused.missed, paused.next) == (True, "", None)
    assert describe_plan(PLAN, "v1") != describe_plan(PLAN, "v2")
    stranger = describe_recurring(found | {"description": "made by hand"}, last=None, now=now)
    assert (stranger.cron, stranger.missed) == ("", "")


@pytest.mark.parametrize("value", ["{{workflow.name}}", ["a", "{{"], {"k": {"{{": 1}}])
def test_an_argument_that_the_argo_below_kfp_would_take_for_a_template_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="the value of x contains"):
        check_no_templates({"x": value})
    check_no_templates({"x": "} } {"})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ServiceError), (403, ServiceError), (404, DataError), (409, StateError), (400, UsageError), (500, ServiceError)],
)
def test_every_refusal_of_kfp_has_a_kind_and_names_the_endpoint(status: int, kind: type[SluiceError]) -> None:
    error = explain(status, "no", "start a run", "http://kfp:8888")
    assert type(error) is kind
    assert error.message == "Kubeflow Pipelines at http://kfp:8888 refused to start a run: no"
    assert error.hint


def test_a_refusal_for_a_missing_permission_names_the_line_of_the_role() -> None:
    message = (
        "User 'ada' is not authorized with reason:  (request: &ResourceAttributes{Namespace:team-a,Verb:create,"
        "Group:pipelines.kubeflow.org,Version:v1beta1,Resource:runs,Subresource:,Name:,}): Unauthorized access"
    )
    assert explain(403, message, "start a run", "http://kfp").hint == (
        "Add this rule to a Role in namespace team-a, and bind it to your account: "
        '{apiGroups: ["pipelines.kubeflow.org"], resources: ["runs"], verbs: ["create"]}'
    )


def test_a_pipeline_without_a_step_after_the_gate_says_nothing_about_the_gates_answer() -> None:
    found = describe(DONE, ("gate", DONE), tasks=TASKS[:2])
    assert (found.summary.outcome, found.summary.gate) == ("passed", "")
