"""The objects that start a run: names from keys, labels, arguments as data, and what the API server's refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.argo.expressions.wire_json import from_wire
from sluice.engines import SchedulePlan
from sluice.engines.argo.refusals import Refusal, explain
from sluice.engines.argo.schedules import describe_cron, plan_cron
from sluice.engines.argo.workflow_objects import labels_of, plan_arguments, plan_run, run_name, schedule_name, template_name
from sluice.engines.arguments import check_arguments, parse_arguments
from sluice.errors import DataError, ServiceError, SluiceError, StateError, UsageError
from sluice.ir.reading import parse_ir

IR = """
components: {}
deploymentSpec: {executors: {}}
pipelineInfo: {name: shop}
root:
  dag: {tasks: {}}
  inputDefinitions:
    parameters:
      snapshot: {parameterType: STRING, defaultValue: "", isOptional: true}
      ratio: {parameterType: NUMBER_DOUBLE, isOptional: true}
      count: {parameterType: NUMBER_INTEGER, isOptional: true}
      strict: {parameterType: BOOLEAN, isOptional: true}
      names: {parameterType: LIST, isOptional: true}
      options: {parameterType: STRUCT, isOptional: true}
      needed: {parameterType: STRING}
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
"""
PIPELINE = parse_ir(IR, source="test")


def test_the_name_of_a_run_follows_from_its_key_alone() -> None:
    assert run_name("shop-drift", "a") == run_name("shop-drift", "a") != run_name("shop-drift", "b")
    body = plan_run("shop-drift", labels_of("shop", "drift"), [], key="a key with spaces & {{braces}}")
    assert body["metadata"]["name"].startswith("shop-drift-")
    assert "{" not in body["metadata"]["name"]
    assert plan_run("shop-drift", {}, [], key="")["metadata"]["generateName"] == "shop-drift-"
    assert body["metadata"]["labels"]["sluice.dev/project"] == "shop"
    assert body["spec"] == {"workflowTemplateRef": {"name": "shop-drift"}}


def test_the_names_of_two_projects_in_one_namespace_differ() -> None:
    assert template_name("shop", "release") != template_name("bank", "release")
    assert schedule_name("shop") == "shop-schedule"
    assert len(template_name("p" * 42, "retraining_of_everything")) <= 52


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("snapshot", 'a $(x) $$ "b" }} é\n', 'a $(x) $$ "b" }} é\n'),
        ("ratio", 0.5, "0.5"),
        ("count", 9007199254740993, None),
        ("strict", True, "true"),
        ("names", ["{{workflow.name}}", "$X"], None),
        ("options", {"{{a": 1.0}, None),
    ],
)
def test_a_value_is_passed_as_data(name: str, value: Any, text: str | None) -> None:
    check_arguments(PIPELINE, {name: value, "needed": "x"})
    (argument,) = plan_arguments(PIPELINE, {name: value})
    assert argument["name"] == name
    assert "{{" not in argument["value"]
    assert text is None or argument["value"] == text
    if name not in {"snapshot", "ratio"}:
        assert from_wire(argument["value"]) == value


@pytest.mark.parametrize("text", ["{{workflow.name}}", "an unclosed {{ brace", "{{=1+1}}", "{{{"])
def test_a_text_that_argo_would_take_for_a_template_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(UsageError, match=f"the value of snapshot contains '{{{{' at character {text.index('{{') + 1}"):
        plan_arguments(PIPELINE, {"snapshot": text})


def test_what_a_person_typed_gets_the_type_of_its_parameter() -> None:
    pairs = ["snapshot=s3://b/x=y.parquet", "ratio=0.5", "count=3", "strict=true", 'names=["a"]', "needed="]
    found = parse_arguments(PIPELINE, pairs)
    assert found == {"snapshot": "s3://b/x=y.parquet", "ratio": 0.5, "count": 3, "strict": True, "names": ["a"], "needed": ""}
    check_arguments(PIPELINE, found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"needed": "x", "speed": 1}, "no parameter 'speed'"),
        ({}, "needs a value for its parameter 'needed'"),
        ({"needed": 3}, "takes a text, not 3"),
        ({"needed": "x", "count": True}, "takes a whole number, not True"),
        ({"needed": "x", "ratio": "0.5"}, "takes a number, not '0.5'"),
        ({"needed": "x", "names": "a"}, "takes a JSON list, not 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_arguments(PIPELINE, arguments)


@pytest.mark.parametrize(
    ("pair", "message"), [("ratio", "is not NAME=VALUE"), ("ratio=half", "is not a number"), ("=1", "is not NAME=VALUE")]
)
def test_a_pair_that_cannot_be_read_is_refused(pair: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_arguments(PIPELINE, [pair])
    with pytest.raises(UsageError, match="given twice"):
        parse_arguments(PIPELINE, ["needed=1", "needed=2"])


FORBIDDEN = (
    'workflows.argoproj.io is forbidden: User "system:serviceaccount:ml:webhook" cannot create resource "workflows" in API group '
    '"argoproj.io" in the namespace "ml"'
)


def refused(status: int, message: str) -> SluiceError:
    return explain(Refusal(status, message, "POST /apis/x", "https://api.example:6443"))


def test_a_refusal_names_the_account_the_server_and_the_line_of_the_role() -> None:
    error = refused(403, FORBIDDEN)
    assert isinstance(error, ServiceError)
    assert "https://api.example:6443" in error.message
    assert "system:serviceaccount:ml:webhook" in error.message
    assert error.hint == (
        "Add this rule to a Role in namespace ml, and bind it to the service account webhook of namespace ml: "
        '{apiGroups: ["argoproj.io"], resources: ["workflows"], verbs: ["create"]}'
    )
    person = refused(403, FORBIDDEN.replace("system:serviceaccount:ml:webhook", "ada@example.org"))
    assert "bind it to the user ada@example.org" in person.hint
    assert "admission policy" in refused(403, "admission webhook denied the request").hint


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "Unauthorized", ServiceError),
        (404, "the server could not find the requested resource", ServiceError),
        (404, 'workflows.argoproj.io "x" not found', DataError),
        (409, "Apply failed with 1 conflict", StateError),
        (409, "the object has been modified", StateError),
        (422, "spec.schedules is required", UsageError),
        (500, "etcd", ServiceError),
    ],
)
def test_every_refusal_has_a_kind_and_says_what_to_do(status: int, message: str, kind: type[SluiceError]) -> None:
    error = refused(status, message)
    assert type(error) is kind
    assert error.hint


COMPILED = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "CronWorkflow",
    "metadata": {"name": "shop-schedule", "labels": {"sluice.dev/pipeline": "retrain"}},
    "spec": {
        "schedules": ["@weekly"],
        "workflowSpec": {
            "entrypoint": "r",
            "arguments": {"parameters": [{"name": "a", "value": ""}, {"name": "b", "value": "1"}]},
        },
    },
}
PLAN = SchedulePlan(pipeline="retrain", cron="0 6 * * 1", timezone="Europe/Berlin", catch_up_seconds=60)
MONDAY = 1_796_018_400.0 + 7 * 86_400  # 2026-12-07 06:00 UTC, which is 7:00 in Berlin


def test_the_cron_workflow_has_the_schedule_and_the_given_arguments_over_the_defaults() -> None:
    spec = plan_cron(COMPILED, PLAN, [{"name": "b", "value": "2"}], paused=True)["spec"]
    assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == (["0 6 * * 1"], "Europe/Berlin", "Forbid")
    assert (spec["startingDeadlineSeconds"], spec["suspend"]) == (60, True)
    assert spec["workflowSpec"]["arguments"]["parameters"] == [{"name": "a", "value": ""}, {"name": "b", "value": "2"}]
    assert COMPILED["spec"]["schedules"] == ["@weekly"]  # type: ignore[index]


def stored(**status: Any) -> dict[str, Any]:
    cron = plan_cron(COMPILED, PLAN, [], paused=False)
    cron["metadata"] = {**cron["metadata"], "creationTimestamp": "2026-11-01T00:00:00Z"}
    return {**cron, "status": status}


def test_a_start_at_which_no_run_started_is_reported() -> None:
    found = describe_cron(stored(lastScheduledTime="2026-11-30T05:00:00Z"), now=MONDAY)
    assert found.missed == "no run started at 2026-12-07 05:00 UTC"
    assert found.next is not None
    assert found.next > MONDAY
    assert describe_cron(stored(lastScheduledTime="2026-12-07T05:00:00Z"), now=MONDAY).missed == ""


def test_a_run_that_still_goes_on_is_why_no_other_one_started() -> None:
    running = stored(lastScheduledTime="2026-11-30T05:00:00Z", active=[{"name": "shop-schedule-1"}])
    assert describe_cron(running, now=MONDAY).missed == ""
    running["spec"]["concurrencyPolicy"] = "Allow"
    assert describe_cron(running, now=MONDAY).missed == "no run started at 2026-12-07 05:00 UTC"


def test_a_paused_schedule_and_one_that_was_just_made_have_missed_nothing() -> None:
    paused = stored()
    paused["spec"]["suspend"] = True
    found = describe_cron(paused, now=MONDAY)
    assert (found.paused, found.missed, found.next) == (True, "", None)
    fresh = stored()
    fresh["metadata"]["managedFields"] = [{"manager": "sluice", "time": "2026-12-07T05:30:00Z"}]
    assert describe_cron(fresh, now=MONDAY).missed == ""


def test_what_argo_says_about_a_schedule_is_reported() -> None:
    condition = {"type": "SubmissionError", "status": "True", "message": "quota exceeded"}
    assert describe_cron(stored(conditions=[condition]), now=0).missed == "Argo cannot start it: quota exceeded"
    assert "stopStrategy" in describe_cron(stored(phase="Stopped"), now=0).missed
    assert describe_cron(stored(active=[{"name": "shop-schedule-1"}]), now=0).active == ("shop-schedule-1",)
