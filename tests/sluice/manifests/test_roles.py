"""Each Role allows exactly the API calls that the code makes with it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from api_calls import KINDS, VERBS, read_calls
from manifest_objects import find, read_files

import sluice.rollout.platforms.seldon
from sluice.rollout.platforms.seldon import approval_objects

CONTROLLER, REQUESTER, APPROVER = "sluice-controller", "sluice-requester", "sluice-approver"
READER, GATE = "sluice-reader", "sluice-gate"
CALLERS = {
    "approval_objects.read_approvals": (CONTROLLER, REQUESTER, APPROVER, READER),
    "approval_objects.write_approval": (APPROVER,),
    "platform._write_epoch": (CONTROLLER,),
    "platform._move_predictors": (CONTROLLER,),
    "platform._move_routes": (CONTROLLER,),
    "controller._watch": (CONTROLLER,),
    "journal_annotations._create": (REQUESTER,),
    "journal_annotations.is_supervised": (REQUESTER, APPROVER, READER),
    "journal_annotations.read": (CONTROLLER, REQUESTER, APPROVER, READER),
    "journal_annotations.read_status": (REQUESTER, APPROVER, READER),
    "journal_annotations.update": (CONTROLLER, REQUESTER, APPROVER),
    "journal_annotations._annotate": (CONTROLLER, REQUESTER),
    "leases.acquire": (CONTROLLER,),
    "leases.raise_epoch": (CONTROLLER,),
    "leases.release": (CONTROLLER,),
    "telemetry.emit": (CONTROLLER,),
    "cluster_snapshots.read_cluster_snapshot": (CONTROLLER,),
}
"""Function that calls the API server → the Roles that it runs with."""

NOT_CALLED = {APPROVER: {("machinelearning.seldon.io", "seldondeployments", "approve")}}
"""The verbs that a Role allows although no code calls them. The policy on approvals checks them."""


def rules_of(role: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def test_the_role_of_each_call_is_known() -> None:
    assert {call.function for call in read_calls()} == set(CALLERS), "add the new call to CALLERS, and update the Roles"


def test_every_call_is_read() -> None:
    """Every module that uses a kind passes it to a method of `Cluster` that `read_calls` knows."""
    read = {(call.function.partition(".")[0], call.plural) for call in read_calls()}
    for path in Path(sluice.rollout.platforms.seldon.__path__[0]).rglob("*.py"):
        named = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)} & set(KINDS)
        used = {(path.stem, KINDS[name].plural) for name in named}
        if path.stem not in {"api", "telemetry", "predictors"}:  # these modules also use a kind's name and version
            assert used <= read, path.name
    from sluice.rollout.platforms.seldon.api import Cluster

    methods = {name for name in vars(Cluster) if not name.startswith("_")}
    assert methods == {*VERBS, "whoami"}, "Cluster has a new method: add its verb to VERBS"


@pytest.mark.parametrize("name", [CONTROLLER, REQUESTER, APPROVER, READER])
def test_a_role_allows_exactly_the_calls_of_the_code(name: str) -> None:
    called = {call.rule for call in read_calls() if name in CALLERS[call.function]}
    allowed = rules_of(find("Role", name))
    assert len(allowed) == len(set(allowed)), "a rule occurs twice"
    assert set(allowed) == called | NOT_CALLED.get(name, set())


def test_the_gate_writes_one_config_map_and_calls_nothing_else() -> None:
    rules = {rule["resources"][0]: rule for rule in find("Role", GATE)["rules"]}
    assert rules["configmaps"]["resourceNames"] == [find("ConfigMap", "sluice-ledger")["metadata"]["name"]]
    assert set(rules["configmaps"]["verbs"]) == {"get", "update"}
    assert set(rules) == {"configmaps", "workflowtaskresults"}


def test_only_the_approver_writes_other_config_maps() -> None:
    for path, item in read_files():
        if item["kind"] in {"Role", "ClusterRole"} and item["metadata"]["name"] not in {APPROVER, GATE}:
            for group, resource, verb in rules_of(item):
                assert "*" not in {group, resource, verb}, path
                assert resource != "configmaps" or verb in {"get", "list", "watch"}, path
                assert verb != "approve", path


def test_no_controller_is_an_approver_and_only_pipelines_on_argo_are() -> None:
    for path, item in read_files():
        if item["kind"] == "RoleBinding" and item["roleRef"]["name"] == APPROVER:
            kinds = {subject["kind"] for subject in item["subjects"]}
            assert kinds == ({"ServiceAccount"} if "argo" in str(path) else {"Group"}), path
            assert CONTROLLER not in {subject["name"] for subject in item["subjects"]}


def test_the_policy_on_approvals_covers_what_the_controller_reads() -> None:
    selector = find("ValidatingAdmissionPolicy", "sluice-approvals")["spec"]["matchConstraints"]["objectSelector"]
    read = dict(part.split("=") for part in approval_objects.build_selector("churn").split(","))
    exact = selector["matchLabels"]
    exists = {one["key"] for one in selector["matchExpressions"] if one["operator"] == "Exists"}
    assert exact.items() <= read.items()
    assert exact.keys() | exists == read.keys(), (
        "the controller would read an approval without one of these labels, but the policy would not check it"
    )
