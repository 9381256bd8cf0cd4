"""Each Role allows exactly the API calls that the code makes with it, and each account has exactly its Roles."""

from __future__ import annotations

import ast
import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_calls import KINDS, VERBS, read_calls
from manifest_objects import MANIFESTS, build, find, read_files, read_settings
from role_rules import APPROVER, CALLERS, GATE, Rule, all_roles, find_problems, rules_of

import sluice.rollout.platforms.seldon
from sluice.argo.component_kinds import CALL_AN_API_SERVER
from sluice.project.settings import Settings
from sluice.rollout.platforms.seldon import approval_objects

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
    read = {(call.function.partition(".")[0], call.plural) for call in read_calls()}
    for path in Path(sluice.rollout.platforms.seldon.__path__[0]).rglob("*.py"):
        named = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)} & set(KINDS)
        used = {(path.stem, KINDS[name].plural) for name in named}
        if path.stem not in {"api", "telemetry", "predictors"}:  # these modules also use a kind's name and version
            assert used <= read, path.name
    from sluice.rollout.platforms.seldon.api import Cluster

    methods = {name for name in vars(Cluster) if not name.startswith("_")}
    assert methods == {*VERBS, "whoami"}, "Cluster has a new method: add its verb to VERBS"


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


def test_only_the_approver_creates_config_maps_and_only_the_gate_changes_one() -> None:
    for name, role in ROLES.items():
        for rule in rules_of(role):
            assert "*" not in {rule.group, rule.resource, rule.verb}, name
            if rule.resource == "configmaps" and rule.verb not in {"get", "list", "watch"}:
                assert (name, rule.verb) in {(APPROVER, "create"), (GATE, "update")}
            assert (rule.verb == "approve") <= (name == APPROVER), name


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


def test_only_people_approve_unless_a_component_is_added() -> None:
    for path, item in read_files():
        if item["kind"] == "RoleBinding" and item["roleRef"]["name"] == APPROVER:
            subjects = [(subject["kind"], subject["name"]) for subject in item["subjects"]]
            opted_in = path.parts[:2] == ("components", "resumed-approvals")
            assert subjects == [("ServiceAccount", "sluice-canary") if opted_in else ("Group", "sluice-approvers")], path
    for path in MANIFESTS.rglob("kustomization.yaml"):
        used = yaml.safe_load(path.read_text(encoding="utf-8")).get("components", [])
        assert not [name for name in used if name.endswith("resumed-approvals")], path


def test_the_component_for_resumed_approvals_adds_one_binding(tmp_path: Path) -> None:
    built = build(write_overlay(tmp_path, "overlays/argo", "components/resumed-approvals"))
    (added,) = [item for item in built if item not in build("overlays/argo")]
    assert (added["kind"], added["roleRef"]["name"]) == ("RoleBinding", APPROVER)
    assert added["metadata"]["namespace"] == PRODUCTION
    assert [(one["name"], one["namespace"]) for one in added["subjects"]] == [("sluice-canary", PIPELINES)]


def write_overlay(folder: Path, resource: str, component: str) -> Path:
    """Write an overlay as a user makes it, with an overlay and a component of manifests/, and return its folder."""
    places = {"resources": [resource], "components": [component]}
    lines = [f"{key}: [{os.path.relpath(MANIFESTS / name, folder.resolve())}]" for key, (name,) in places.items()]
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return folder


def test_the_policy_on_approvals_covers_what_the_controller_reads() -> None:
    selector = find("ValidatingAdmissionPolicy", "sluice-approvals")["spec"]["matchConstraints"]["objectSelector"]
    read = dict(part.split("=") for part in approval_objects.build_selector("churn").split(","))
    exact = selector["matchLabels"]
    exists = {one["key"] for one in selector["matchExpressions"] if one["operator"] == "Exists"}
    assert exact.items() <= read.items()
    assert exact.keys() | exists == read.keys(), (
        "the controller would read an approval without one of these labels, but the policy would not check it"
    )
