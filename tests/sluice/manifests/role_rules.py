"""What each Role of manifests/ must allow: the API calls of the code that runs with it."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api_calls import read_calls
from manifest_objects import find, read_files

import sluice.engines.argo.engine
import sluice.gate.stores.config_maps
import sluice.scoring.release_pods
from sluice.doctor.clusters import ARGO_PERMISSIONS
from sluice.engines.argo import api_server
from sluice.kubernetes_calls import Kind

if TYPE_CHECKING:
    from types import ModuleType

CONTROLLER, REQUESTER, APPROVER, READER = "sluice-controller", "sluice-requester", "sluice-approver", "sluice-reader"
SCALER = "sluice-scaler"
GATE, INTEGRATION, RESULTS, RUN = "sluice-gate", "sluice-integration", "sluice-results", "sluice-run"
TRIGGERS, EVENT_SENDER, SUBMITTER = "sluice-triggers", "sluice-event-sender", "sluice-submitter"
CALLERS = {
    "rollout_approvals.read_approvals": (CONTROLLER, REQUESTER, APPROVER, READER),
    "rollout_approvals.write_approval": (APPROVER,),
    "tenures._write_epoch": (CONTROLLER,),
    "deployments._write_deployment": (CONTROLLER,),
    "deployments.move_traffic": (CONTROLLER,),
    "route_writer._set_weights": (CONTROLLER,),
    "route_writer._restore": (CONTROLLER,),
    "destination_rules.keep": (CONTROLLER,),
    "destination_rules._restore": (CONTROLLER,),
    "controller.run_controller": (CONTROLLER,),
    "rollout_journals._write_spec": (REQUESTER,),
    "rollout_journals.is_supervised": (REQUESTER, APPROVER, READER),
    "rollout_journals.read": (CONTROLLER, REQUESTER, APPROVER, READER),
    "rollout_journals.read_status": (REQUESTER, APPROVER, READER),
    "rollout_journals.update": (CONTROLLER, REQUESTER, APPROVER),
    "rollout_journals.write_status": (CONTROLLER,),
    "rollout_records.read": (CONTROLLER,),
    "rollout_records.write": (CONTROLLER,),
    "rollout_records._restore": (CONTROLLER,),
    "lease_locks._acquire": (CONTROLLER,),
    "lease_locks.raise_epoch": (CONTROLLER,),
    "lease_locks.release": (CONTROLLER,),
    "rollout_autoscalers._follow": (CONTROLLER,),
    "rollout_autoscalers._write": (CONTROLLER,),
    "rollout_autoscalers._remove": (CONTROLLER,),
    "telemetry._publish": (CONTROLLER,),
    "telemetry._read_uid": (CONTROLLER,),
    "cluster_snapshots.read_cluster_snapshot": (CONTROLLER,),
}
"""Function of the rollout that calls the API server → the Roles that it runs with."""


@dataclass(frozen=True, order=True)
class Rule:
    """One permission. Without a name, it holds for all objects of the resource."""

    group: str
    resource: str
    verb: str
    name: str = ""


NOT_CALLED = {
    # A restored ModelRollout has the replicas that it had, and the policy on requests checks the verb scale.
    CONTROLLER: {Rule("sluice.dev", "modelrollouts", "scale")},
    REQUESTER: {Rule("sluice.dev", "modelrollouts", "request")},
    # An approver orders a rollback with the call by which a requester makes a request, and withdraws an approval with kubectl.
    APPROVER: {
        Rule("sluice.dev", "modelrollouts", "patch"),
        Rule("sluice.dev", "modelrollouts", "rollback"),
        Rule("sluice.dev", "rolloutapprovals", "delete"),
    },
}
"""What a Role allows although no code calls it with this Role. The policy on requests checks the verbs
request, rollback and scale."""

KUBECTL = {Rule("sluice.dev", kind, verb) for kind in ("modelrollouts", "rolloutapprovals") for verb in ("get", "list", "watch")}
KUBECTL |= {Rule("", "events", "list")}
"""What `kubectl get`, `wait` and `describe` call, for people: `wait` lists and watches, and `describe` lists the events."""

NOT_ALLOWED = Rule("", "configmaps", "create")
"""What the gate's code calls only where no manifest made the ledger. Whoever may create it could replace it by an empty one."""

_REPORTS = {Rule("argoproj.io", "workflowtaskresults", verb) for verb in ("create", "patch")}
OF_OTHER_PROGRAMS = {
    # workflow/executor/taskresult.go of Argo Workflows 4.1: an executor creates the result of its step, or patches it.
    RESULTS: _REPORTS,
    # backend/src/v2/config/env.go and objectstore/object_store.go of Kubeflow Pipelines 2.17, and Argo's executor.
    RUN: _REPORTS | {Rule("", "configmaps", "get", "kfp-launcher"), Rule("", "secrets", "get", "mlpipeline-minio-artifact")},
    # server/event/dispatch of Argo Workflows 4.1.
    # `kubectl scale` reads the object and patches its subresource; other clients replace it. The policy checks the verb `scale`.
    SCALER: {
        *(Rule("sluice.dev", "modelrollouts", verb) for verb in ("get", "patch", "scale")),
        *(Rule("sluice.dev", "modelrollouts/scale", verb) for verb in ("get", "update", "patch")),
    },
    EVENT_SENDER: {
        Rule("argoproj.io", "workfloweventbindings", "list"),
        Rule("argoproj.io", "workflowtemplates", "get", "churn-retrain"),
        Rule("argoproj.io", "workflows", "create"),
    },
}
"""What programs call that are not Sluice's. The tests on a cluster run Argo's."""

_PLURALS = {"config_map": "configmaps", "pod": "pods", "pod_log": "pods/log"}
_VERBS = {"read": "get", "replace": "update", "patch": "patch", "create": "create", "delete": "delete", "list": "list"}


def read_client_calls(module: ModuleType) -> set[Rule]:
    """Return what a module calls with methods of the package ``kubernetes``, such as ``read_namespaced_pod_log``."""
    found = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        named = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else ""
        verb, sign, resource = str(named).partition("_namespaced_")
        if sign and verb in _VERBS:
            found.add(Rule("", _PLURALS[resource], _VERBS[verb]))
    return found


def read_submit_calls() -> set[Rule]:
    """Return what `ArgoEngine.submit` calls if the WorkflowTemplate must be there already."""
    kinds = {name: kind for name, kind in vars(api_server).items() if isinstance(kind, Kind)}
    tree = ast.parse(Path(str(sluice.engines.argo.engine.__file__)).read_text(encoding="utf-8"))
    (submit,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "submit"]
    calls = [node for node in ast.walk(submit) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    found = set()
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        if ast.unparse(call.func.value) == "self.api":
            assert isinstance(call.args[0], ast.Name)
            kind = kinds[call.args[0].id]
            found.add(Rule(kind.group, kind.plural, {"create": "create"}[call.func.attr]))
    return found


@functools.cache
def needed_by(role: str) -> set[Rule]:
    """Return what a Role must allow."""
    if role in OF_OTHER_PROGRAMS:
        return OF_OTHER_PROGRAMS[role]
    if role == TRIGGERS:
        return read_submit_calls()
    if role == SUBMITTER:
        return {Rule(each.group, each.resource, verb) for each in ARGO_PERMISSIONS for verb in each.verbs}
    if role == GATE:
        calls = read_client_calls(sluice.gate.stores.config_maps) - {NOT_ALLOWED}
        ledger = find("ConfigMap", "sluice-ledger")["metadata"]["name"]
        return {Rule(call.group, call.resource, call.verb, ledger) for call in calls}
    if role == INTEGRATION:
        return read_client_calls(sluice.scoring.release_pods)
    assert role in {CONTROLLER, REQUESTER, APPROVER, READER}, f"nothing says what the Role {role} is for"
    return called_by(role) | (KUBECTL if role != CONTROLLER else set())


def called_by(role: str) -> set[Rule]:
    """Return what a Role of the rollout must allow for Sluice itself, without what people call with kubectl."""
    called = {Rule(*call.rule) for call in read_calls() if role in CALLERS[call.function]}
    return called | NOT_CALLED.get(role, set())


def rules_of(role: dict[str, Any]) -> list[Rule]:
    """Return each permission of a Role."""
    return [
        Rule(group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]


def find_problems(role: dict[str, Any]) -> list[str]:
    """Return what a Role allows too much, too little, or twice."""
    allowed, needed = Counter(rules_of(role)), needed_by(role["metadata"]["name"])
    return [
        *(f"missing: {rule}" for rule in sorted(needed - set(allowed))),
        *(f"not needed: {rule}" for rule in sorted(set(allowed) - needed)),
        *(f"twice: {rule}" for rule, count in sorted(allowed.items()) if count > 1),
    ]


def all_roles() -> list[dict[str, Any]]:
    """Return every Role and ClusterRole in the files."""
    return [item for _, item in read_files() if item["kind"] in {"Role", "ClusterRole"}]
