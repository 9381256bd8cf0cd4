"""The engine for Argo on a real API server: what it applies, starts, changes, and what it says when it is refused."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner
from workflow_states import node, root, status

from sluice.cli import app
from sluice.engines import SchedulePlan
from sluice.engines.argo.api_server import CRON, TEMPLATE, WORKFLOW
from sluice.engines.run_lists import find_engine, list_all_runs
from sluice.engines.schedule_plans import read_plan
from sluice.engines.selection import open_engine
from sluice.errors import DataError, StateError, UsageError
from sluice.kubernetes_calls import POD

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.engines.argo.engine import ArgoEngine
    from sluice.project.projects import Project

    Write = Callable[[str, dict[str, Any]], None]


GUARD_SECONDS = 120.0
"""Guard against a cluster without a scheduler."""

UNKNOWN_RUN = "0b6f1c1e-5f0a-4c39-9a51-6d0e2a7c4b11"
"""An id that a run on KFP could have."""


def test_a_template_is_created_then_unchanged_then_changed(engine: ArgoEngine, shop: Project) -> None:
    name = f"WorkflowTemplate {engine.api.namespace}/{shop.settings.project.name}-train"
    assert engine.prepare("train", dry_run=True) == f"{name}: created"
    assert engine.api.get(TEMPLATE, f"{shop.settings.project.name}-train") is None
    assert engine.prepare("train") == f"{name}: created"
    stored = engine.api.get(TEMPLATE, f"{shop.settings.project.name}-train")
    assert stored is not None
    assert {each["manager"] for each in stored["metadata"]["managedFields"]} == {"sluice"}
    assert stored["spec"]["workflowMetadata"]["labels"]["sluice.dev/project"] == shop.settings.project.name
    assert engine.prepare("train") == f"{name}: unchanged"
    again = engine.api.get(TEMPLATE, f"{shop.settings.project.name}-train")
    assert again is not None
    assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
    engine.project.settings.argo.labels["team"] = "fraud"
    assert engine.prepare("train") == f"{name}: changed"


def test_fields_of_another_tool_are_taken_over_only_on_demand(engine: ArgoEngine, shop: Project) -> None:
    engine.prepare("train")
    path = TEMPLATE.path(engine.api.namespace, f"{shop.settings.project.name}-train")
    body = {"spec": {"entrypoint": "other"}}
    engine.api.call("PATCH", path, query={"fieldManager": "kubectl-edit"}, body=body, content="application/merge-patch+json")
    with pytest.raises(StateError, match="kubectl-edit") as refused:
        engine.prepare("train")
    assert "--force-conflicts" in refused.value.hint
    assert engine.prepare("train", force=True).endswith(": changed")


def test_a_run_starts_from_the_template_with_its_arguments_as_they_are(engine: ArgoEngine, shop: Project) -> None:
    text = 'a "quoted" $(x) $$ }} é\nline'
    run = engine.submit("train", {"snapshot": text, "rows": 7})
    stored = engine.api.get(WORKFLOW, run)
    assert stored is not None
    assert stored["spec"]["workflowTemplateRef"] == {"name": f"{shop.settings.project.name}-train"}
    assert {each["name"]: each["value"] for each in stored["spec"]["arguments"]["parameters"]} == {"snapshot": text, "rows": "7"}
    labels = stored["metadata"]["labels"]
    assert labels["workflows.argoproj.io/workflow-template"] == f"{shop.settings.project.name}-train"
    assert labels["sluice.dev/pipeline"] == "train"
    with pytest.raises(UsageError, match="Argo takes for a template"):
        engine.submit("train", {"snapshot": "{{workflow.name}}"})


def test_a_key_starts_one_run_even_if_ten_submit_it_at_once(engine: ArgoEngine) -> None:
    engine.prepare("train")
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.submit("train", {}, key="drift 2026-11-30"))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert len(set(found)) == 1
    assert [run.id for run in engine.list()] == found[:1]
    assert engine.submit("train", {}, key="another") != found[0]


def test_a_watched_run_ends_with_its_last_status(engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    seen = []

    def play() -> None:
        write_status(run, status("Running", root(run, "Running"), node(run, "fit", phase="Running", finishedAt=None)))
        write_status(run, status("Succeeded", root(run), node(run, "fit")))

    for number, found in enumerate(engine.watch(run)):
        if number == 0:
            threading.Thread(target=play).start()
        seen.append(found)
    assert (seen[0].summary.outcome, seen[0].steps) == ("running", ())
    assert (seen[-1].summary.outcome, seen[-1].ended) == ("passed", True)
    assert [step.outcome for step in seen[-1].steps] == ["pass"]


def test_cancel_stops_a_run_once_and_leaves_an_ended_one(engine: ArgoEngine, write_status: Write) -> None:
    run, ended = engine.submit("train", {}), engine.submit("train", {})
    engine.cancel(run)
    engine.cancel(run)
    stored = engine.api.get(WORKFLOW, run)
    assert stored is not None
    assert stored["spec"]["shutdown"] == "Stop"
    write_status(ended, status("Succeeded", root(ended)))
    engine.cancel(ended)
    untouched = engine.api.get(WORKFLOW, ended)
    assert untouched is not None
    assert "shutdown" not in untouched["spec"]


def test_an_answer_to_an_approval_is_stored(engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    supplied = {"parameters": [{"name": "Output", "valueFrom": {"supplied": {}}}]}
    write_status(run, status("Running", root(run, "Running"), node(run, "approval", "Suspend", "Running", outputs=supplied)))
    assert engine.read(run).summary.outcome == "waiting"
    assert engine.resume(run, by="ada", why="it is good") == "approval"
    stored = engine.api.get(WORKFLOW, run)
    assert stored is not None
    answered = stored["status"]["nodes"][f"{run}-approval"]
    assert answered["outputs"]["parameters"] == [{"name": "Output", "value": "ada"}]
    assert (answered["phase"], answered["message"]) == ("Succeeded", "answered by ada: it is good")
    with pytest.raises(StateError, match="waits for no answer"):
        engine.resume(run, by="ada")


def test_a_retry_deletes_the_pods_of_failed_steps_only(engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    nodes = [
        root(run, "Failed", children=[f"{run}-pin"]),
        node(run, "pin", children=[f"{run}-fit"]),
        node(run, "fit", phase="Failed"),
    ]
    write_status(run, status("Failed", *nodes))
    for name in ("pin", "fit"):
        engine.api.create(POD, pod(run, name))
    engine.retry(run)
    stored = engine.api.get(WORKFLOW, run)
    assert stored is not None
    assert set(stored["status"]["nodes"]) == {run, f"{run}-pin"}
    assert stored["status"]["phase"] == ""
    left = [
        each
        for each in engine.api.list(POD, f"workflows.argoproj.io/workflow={run}")
        if "deletionTimestamp" not in each["metadata"]
    ]
    assert [each["metadata"]["name"] for each in left] == [f"{run}-pin"]
    with pytest.raises(StateError, match="only a failed run"):
        engine.retry(run)


def pod(run: str, name: str) -> dict[str, Any]:
    """Return a pod that no node can run, so that it needs no image."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{run}-{name}",
            "labels": {"workflows.argoproj.io/workflow": run},
            "annotations": {"workflows.argoproj.io/node-id": f"{run}-{name}"},
        },
        "spec": {"nodeSelector": {"sluice.test/nowhere": "true"}, "containers": [{"name": "main", "image": "none"}]},
    }


def test_a_step_whose_pod_finds_no_machine_says_so(engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    write_status(run, status("Running", root(run, "Running"), node(run, "fit", phase="Pending", message="PodInitializing")))
    engine.api.create(POD, pod(run, "fit"))
    deadline = time.monotonic() + GUARD_SECONDS
    while (found := engine.read(run)).steps[0].detail == "PodInitializing":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found.steps[0].detail.startswith("Unschedulable: 0/")


def test_a_log_that_does_not_exist_is_said_and_an_unknown_step_is_an_error(engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    with pytest.raises(DataError, match="has had no pod yet"):
        engine.logs(run)
    write_status(run, status("Failed", root(run, "Failed"), node(run, "fit", phase="Failed", outputs={"exitCode": "4"})))
    assert list(engine.logs(run, "fit")) == ["(the log of fit does not exist: its pod has not started, or was deleted)"]
    with pytest.raises(DataError, match="has no step 'train'"):
        engine.logs(run, "train")
    found = engine.read(run)
    assert (found.summary.outcome, found.exit_code) == ("failed", 4)


def test_the_schedule_of_a_project_is_one_object_that_changes_in_place(engine: ArgoEngine, shop: Project) -> None:
    plan = read_plan(shop)
    assert engine.schedule_list() == ()
    assert [engine.schedule_apply(plan) for _ in range(2)] == ["created", "unchanged"]
    (found,) = engine.schedule_list()
    assert (found.cron, found.timezone, found.pipeline, found.paused) == ("0 6 * * 1", "Europe/Berlin", "train", False)
    stored = engine.api.get(CRON, f"{shop.settings.project.name}-schedule")
    assert stored is not None
    assert {"name": "rows", "value": "500"} in stored["spec"]["workflowSpec"]["arguments"]["parameters"]
    assert engine.schedule_apply(dataclasses.replace(plan, cron="@daily", concurrency="Replace")) == "changed"
    assert len(engine.schedule_list()) == 1
    assert [engine.schedule_pause(paused=True) for _ in range(2)] == ["changed", "unchanged"]
    assert engine.schedule_apply(plan) == "changed"
    assert engine.schedule_list()[0].paused, "a paused schedule must stay paused when it is applied again"
    assert [engine.schedule_pause(paused=False) for _ in range(2)] == ["changed", "unchanged"]
    assert engine.schedule_apply(plan) == "unchanged"
    assert [engine.schedule_remove() for _ in range(2)] == ["removed", "unchanged"]
    with pytest.raises(StateError, match="has no schedule"):
        engine.schedule_pause(paused=True)


def test_a_schedule_that_argos_user_interface_suspended_is_seen_and_resumed(engine: ArgoEngine, shop: Project) -> None:
    engine.schedule_apply(read_plan(shop))
    path = CRON.path(engine.api.namespace, f"{shop.settings.project.name}-schedule")
    body = {"spec": {"suspend": True}}
    engine.api.call("PATCH", path, query={"fieldManager": "argo-server"}, body=body, content="application/merge-patch+json")
    assert engine.schedule_list()[0].paused
    assert engine.schedule_pause(paused=False) == "changed"


def test_arguments_of_a_schedule_are_checked_before_it_is_stored(engine: ArgoEngine) -> None:
    with pytest.raises(UsageError, match="takes a whole number"):
        engine.schedule_apply(SchedulePlan(pipeline="train", cron="@daily", arguments={"rows": "many"}))
    assert engine.schedule_list() == ()


def test_an_engine_that_cannot_be_reached_is_one_line_of_the_list(shop: Project, engine: ArgoEngine) -> None:
    run = engine.submit("train", {})
    found = list_all_runs(shop, "", 10)
    assert [each.id for each in found.runs] == [run]
    assert set(found.unreachable) == {"kfp"}
    assert find_engine(shop, run, "").name == "argo"
    with pytest.raises(DataError, match=f"no engine has a run '{UNKNOWN_RUN}'; kfp could not be asked"):
        find_engine(shop, UNKNOWN_RUN, "")
    with pytest.raises(DataError, match=r"no engine has a run 'nothing'$"):
        find_engine(shop, "nothing", "")  # KFP gives no run such an id, so it is not asked
    assert open_engine(shop).name == "argo"


def test_the_commands_exit_by_the_outcome_of_the_run(shop: Project, engine: ArgoEngine, write_status: Write) -> None:
    run = engine.submit("train", {})
    write_status(run, status("Failed", root(run, "Failed"), node(run, "canary", phase="Failed", outputs={"exitCode": "6"})))
    done = CliRunner().invoke(app, ["runs", "watch", run, "--project", str(shop.root)])
    assert done.exit_code == 6, done.output
    assert "rolled_back" in done.output
    assert "log of canary" in done.output
    write_status(run, status("Failed", root(run, "Failed"), node(run, "fit", phase="Failed")))
    engine.api.merge(WORKFLOW, run, {"spec": {"shutdown": "Stop"}})
    stopped = CliRunner().invoke(app, ["runs", "watch", run, "--project", str(shop.root), "--output", "json"])
    assert stopped.exit_code == 130
    assert '"outcome": "interrupted"' in stopped.output
    listed = CliRunner().invoke(app, ["runs", "--project", str(shop.root), "--output", "json"])
    assert f'"id": "{run}"' in listed.output
    submitted = CliRunner().invoke(app, ["submit", "train", "--project", str(shop.root), "--arg", "rows=3", "--output", "json"])
    assert submitted.exit_code == 0, submitted.output
    assert '"outcome": "submitted"' in submitted.output
