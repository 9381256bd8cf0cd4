"""Each Role allows exactly the API calls that the code makes with it, and each account has exactly its Roles."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

import pytest
from api_calls import KINDS, VERBS, read_calls
from manifest_objects import build, read_files, read_settings
from role_rules import APPROVER, CALLERS, CONTROLLER, GATE, REQUESTER, Rule, all_roles, called_by, find_problems, rules_of

import sluice.rollout.platforms.seldon
from sluice.argo.component_kinds import CALL_AN_API_SERVER
from sluice.doctor.clusters import REQUESTER_PERMISSIONS
from sluice.project.settings import Settings

ROLES = {item["metadata"]["name"]: item for item in all_roles()}
PARTS = [
    pytest.param(name, number, key, value, id=f"{name}-{number}-{key}-{value or 'core'}")
    for name, role in ROLES.items()
    for number, rule in enumerate(role["rules"])
    for key, values in rule.items()
    for value in values
]
"""Every group, resource, name and verb of every rule of every Role."""


def test_the_role_of_each_call_is_known() -> None:
    assert {call.function for call in read_calls()} == set(CALLERS), "add the new call to CALLERS, and update the Roles"


def test_every_call_is_read() -> None:
    """Every module that uses a kind passes it to a method of `Cluster` that `read_calls` knows."""
    read = {(call.function.partition(".")[0], call.plural.partition("/")[0]) for call in read_calls()}
    for path in Path(sluice.rollout.platforms.seldon.__path__[0]).rglob("*.py"):
        named = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)} & set(KINDS)
        used = {(path.stem, KINDS[name].plural) for name in named}
        if path.stem not in {"api", "telemetry", "predictors"}:  # these modules also use a kind's name and version
            assert used <= read, path.name
    from sluice.rollout.platforms.seldon.api import Cluster

    methods = {name for name in vars(Cluster) if not name.startswith("_")}
    assert methods == {*VERBS, "whoami", "clock"}, "Cluster has a new method: add its verb to VERBS"


def test_no_two_roles_have_the_same_name() -> None:
    assert len(all_roles()) == len(ROLES)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_allows_exactly_the_calls_of_the_code(name: str) -> None:
    assert find_problems(ROLES[name]) == []


@pytest.mark.parametrize(("name", "number", "key", "value"), PARTS)
def test_without_any_one_part_of_a_rule_the_role_is_wrong(name: str, number: int, key: str, value: str) -> None:
    """So whoever removes a verb, a resource or a name from a Role fails the test above."""
    role: dict[str, Any] = copy.deepcopy(ROLES[name])
    role["rules"][number][key].remove(value)
    if key == "resourceNames" and not role["rules"][number][key]:
        del role["rules"][number][key]  # the rule then holds for every name
    assert find_problems(role)


@pytest.mark.parametrize("name", ROLES)
def test_with_one_more_verb_or_with_a_wildcard_the_role_is_wrong(name: str) -> None:
    for verb in ("deletecollection", "*"):
        for number in range(len(ROLES[name]["rules"])):
            role: dict[str, Any] = copy.deepcopy(ROLES[name])
            role["rules"][number]["verbs"].append(verb)
            assert find_problems(role)


ONLY_BY = {
    ("configmaps", "update"): {GATE},
    ("rolloutapprovals", "create"): {APPROVER},
    ("modelrollouts", "rollback"): {APPROVER},
    ("modelrollouts", "request"): {REQUESTER},
    ("modelrollouts/status", "update"): {CONTROLLER},
    ("seldondeployments", "update"): {CONTROLLER},
    ("seldondeployments", "create"): {CONTROLLER},
    ("seldondeployments", "patch"): {CONTROLLER},
    ("virtualservices", "patch"): {CONTROLLER},
}
"""Resource and verb → the Roles that allow it."""


def test_the_doctor_asks_for_exactly_what_a_requester_needs() -> None:
    asked = {Rule(each.group, each.resource, verb) for each in REQUESTER_PERMISSIONS for verb in each.verbs}
    assert asked == called_by(REQUESTER)
    assert asked < set(rules_of(ROLES[REQUESTER])), "people also call kubectl with this Role, which no request needs"


def test_what_decides_about_traffic_is_allowed_to_one_role_each() -> None:
    found: dict[tuple[str, str], set[str]] = {key: set() for key in ONLY_BY}
    for name, role in ROLES.items():
        for rule in rules_of(role):
            assert "*" not in {rule.group, rule.resource, rule.verb}, name
            found.setdefault((rule.resource, rule.verb), set()).add(name)
    assert {key: found[key] for key in ONLY_BY} == ONLY_BY
    assert ("configmaps", "create") not in found
    assert ("rolloutapprovals", "update") not in found


PRODUCTION, PIPELINES, TRIALS, KUBEFLOW = "sluice-production", "sluice-pipelines", "sluice-trials", "kubeflow"
KINDS_OF_SETTINGS = ("ServiceAccount", "Secret", "Namespace", "ConfigMap")
OWN_RESULT = (PIPELINES, "sluice-results")
BOUND = {
    # overlay → account → the Roles that it has, with their namespace
    "overlays/argo": {
        "sluice-pipeline": {OWN_RESULT},
        "sluice-reader": {OWN_RESULT, (PRODUCTION, "sluice-reader")},
        "sluice-gate": {OWN_RESULT, (PIPELINES, "sluice-gate"), (PRODUCTION, "sluice-reader")},
        "sluice-integration": {OWN_RESULT, (TRIALS, "sluice-integration")},
        "sluice-canary": {OWN_RESULT, (PRODUCTION, "sluice-requester")},
    },
    "overlays/kfp": {
        "sluice-run": {(KUBEFLOW, "sluice-run")},
        "sluice-reader": {(PRODUCTION, "sluice-reader")},
        "sluice-gate": {(KUBEFLOW, "sluice-gate"), (PRODUCTION, "sluice-reader")},
        "sluice-integration": {(TRIALS, "sluice-integration")},
        "sluice-canary": {(PRODUCTION, "sluice-requester")},
    },
    "overlays/triggers": {
        "sluice-monitor": {(PIPELINES, "sluice-triggers"), (PRODUCTION, "sluice-reader")},
        "sluice-webhook": {(PIPELINES, "sluice-triggers")},
    },
    "overlays/production": {"sluice-controller": {(PRODUCTION, "sluice-controller")}},
}


@pytest.mark.parametrize("overlay", BOUND)
def test_each_account_has_exactly_its_roles(overlay: str) -> None:
    items = build(overlay)
    found: dict[str, set[tuple[str, str]]] = {
        item["metadata"]["name"]: set() for item in items if item["kind"] == "ServiceAccount"
    }
    for item in items:
        if item["kind"] == "RoleBinding":
            for subject in item["subjects"]:
                if subject["kind"] == "ServiceAccount":
                    found[subject["name"]].add((item["metadata"]["namespace"], item["roleRef"]["name"]))
    assert found == BOUND[overlay]
    assert not any(item["kind"] == "ClusterRoleBinding" for item in items)


@pytest.mark.parametrize("overlay", ["argo", "kfp"])
def test_the_settings_in_the_overlay_are_valid_and_name_what_it_makes(overlay: str) -> None:
    settings, items = read_settings(overlay), build(f"overlays/{overlay}")
    for table, values in settings.items():
        model: Any = Settings.model_fields[table].annotation
        assert set(model(**values).model_fields_set) == set(values)
    names = {kind: {item["metadata"]["name"] for item in items if item["kind"] == kind} for kind in KINDS_OF_SETTINGS}
    assert settings[overlay]["service_account"] in names["ServiceAccount"]
    key, kind = {"argo": ("service_accounts", "ServiceAccount"), "kfp": ("token_secrets", "Secret")}[overlay]
    named = settings[overlay][key]
    assert set(named.values()) <= names[kind]
    approval = {"approval"} if overlay == "kfp" else set()  # on Argo, it is a suspended step without a Pod
    assert {name.replace("_", "-") for name in named} == {*CALL_AN_API_SERVER, *approval}
    assert settings["serving"]["test_namespace"] in names["Namespace"]
    assert settings["gate"]["config_map"].rpartition("/")[2] in names["ConfigMap"]


def test_an_account_whose_token_argo_shall_mount_does_not_forbid_it() -> None:
    """Argo leaves the field of the Pod empty if a template asks for the token, so that of the account would decide."""
    items = [item for item in build("overlays/argo") if item["kind"] == "ServiceAccount"]
    forbids = {item["metadata"]["name"] for item in items if item.get("automountServiceAccountToken") is False}
    assert forbids == {"sluice-pipeline"}


def test_nobody_may_create_pods_where_an_account_has_a_role() -> None:
    """Whoever may create Pods can use every account of their namespace."""
    creators = {name for name, role in ROLES.items() if Rule("", "pods", "create") in rules_of(role)}
    assert creators == {"sluice-integration"}
    for overlay in ("overlays/argo", "overlays/kfp"):
        places = {
            item["metadata"]["namespace"]
            for item in build(overlay)
            if item["kind"] == "RoleBinding" and item["roleRef"]["name"] in creators
        }
        assert places == {TRIALS}
        assert not [
            item
            for item in build(overlay)
            if item["kind"] in {"ServiceAccount", "Secret"} and item["metadata"]["namespace"] in places
        ]


def test_every_secret_is_empty_and_holds_the_token_of_one_account() -> None:
    for path, item in read_files():
        if item["kind"] == "Secret":
            assert item["type"] == "kubernetes.io/service-account-token", path
            assert "data" not in item, path
            assert "stringData" not in item, path


def test_only_people_approve() -> None:
    for path, item in read_files():
        if item["kind"] == "RoleBinding" and item["roleRef"]["name"] == APPROVER:
            assert [(subject["kind"], subject["name"]) for subject in item["subjects"]] == [("Group", "sluice-approvers")], path
