"""Questions to a Kubernetes API server: versions, resources, permissions, and the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.argo.component_kinds import CALL_AN_API_SERVER
from sluice.doctor.cluster_services import check_artifact_store, check_gateway, check_gateway_metrics, check_operator
from sluice.doctor.findings import FAIL, NOTE, PASS, Finding, collecting
from sluice.doctor.objects import check_accounts, check_security
from sluice.engines.argo.api_server import ApiServer, RefusedCallError
from sluice.engines.argo.credentials import connect
from sluice.engines.argo.engine import ArgoEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.project.projects import Project
    from sluice.project.tables.pipelines.argo import ArgoTable

LARGEST_SKEW_SECONDS = 5.0
"""Difference of the clocks above which this machine judges the ends of approvals and overrides, and schedules, wrongly."""

ARGO, SELDON, ISTIO = "argoproj.io/v1alpha1", "machinelearning.seldon.io/v1", "networking.istio.io/v1beta1"
PROMETHEUS, SLUICE = "monitoring.coreos.com/v1", "sluice.dev/v1alpha1"

REQUESTS = "requests of rollouts"
"""Subject of the finding about whether this account may request rollouts."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission that an engine or a platform needs."""

    group: str
    resource: str
    verbs: tuple[str, ...]


ARGO_PERMISSIONS = (
    Permission("argoproj.io", "workflowtemplates", ("get", "patch", "create")),
    Permission("argoproj.io", "workflows", ("get", "list", "watch", "create", "patch", "update")),
    Permission("argoproj.io", "cronworkflows", ("get", "list", "create", "patch", "delete")),
    Permission("", "pods", ("list", "delete")),
    Permission("", "pods/log", ("get",)),
)
"""What `sluice submit`, `runs`, `logs` and `schedule` call."""

REQUESTER_PERMISSIONS = (
    Permission("sluice.dev", "modelrollouts", ("get", "create", "patch", "request")),
    Permission("sluice.dev", "rolloutapprovals", ("list",)),
    Permission("coordination.k8s.io", "leases", ("get",)),
)
"""What whoever requests a rollout needs. A test compares it with the Role `sluice-requester` in manifests/base/roles.yaml."""


def check_argo(project: Project) -> list[Finding]:
    """Return the findings about the cluster of the engine `argo`."""
    findings: list[Finding] = []
    with collecting(findings, "Kubernetes API server"):
        api = connect(project.settings.argo)
        findings += check_server(api)
        findings.append(
            check_resources(api, ARGO, ("workflows", "workflowtemplates", "cronworkflows"), "Install Argo Workflows.")
        )
        findings += check_permissions(api, ARGO_PERMISSIONS)
        findings += check_accounts(api, project)
        findings.append(check_security(api, project.settings.argo.security))
        findings.append(check_tokens(project.settings.argo))
        findings.append(check_artifact_store(ArgoEngine(project, api)))
    return findings


def check_seldon(project: Project) -> list[Finding]:
    """Return the findings about the cluster of the platform `seldon`."""
    findings: list[Finding] = []
    with collecting(findings, "Kubernetes API server"):
        table = project.settings.argo.model_copy(update={"namespace": project.settings.seldon.namespace})
        api = connect(table)
        findings += check_server(api)
        findings.append(check_resources(api, SELDON, ("seldondeployments",), "Install Seldon Core 1.17.1 with its operator."))
        findings.append(check_resources(api, ISTIO, ("virtualservices",), "Install Istio, which splits the traffic."))
        own = "kubectl apply -k manifests/crds registers them."
        findings.append(check_resources(api, SLUICE, ("modelrollouts", "rolloutapprovals"), own))
        findings.append(check_operator(api))
        findings.append(check_requester(api))
        findings.append(check_gateway(project.settings.seldon.url))
        findings.append(check_gateway_metrics(api, project.settings.seldon))
        found = check_resources(api, PROMETHEUS, ("servicemonitors",), "")
        if found.outcome == FAIL:
            found = Finding(
                found.subject, NOTE, f"{found.detail}, so manifests/alerts cannot be applied", "Rollouts work without it."
            )
        findings.append(found)
    return findings


def check_server(api: ApiServer) -> list[Finding]:
    """Ask for the version and compare the clocks."""
    found = api.read("/version")
    version = Finding(
        "Kubernetes API server", PASS, f"{api.url} has the version {found['gitVersion']}; asked about namespace {api.namespace}"
    )
    skew = api.measure_skew()
    text = f"the clock of the API server of namespace {api.namespace} differs by {abs(skew):.0f} s"
    if abs(skew) <= LARGEST_SKEW_SECONDS:
        return [version, Finding("clock", PASS, text)]
    fix = (
        "Set this machine's clock with NTP. The ends of approvals and overrides, and what it says about schedules, depend on it."
    )
    return [version, Finding("clock", FAIL, text, fix)]


def check_resources(api: ApiServer, group_version: str, plurals: Iterable[str], fix: str) -> Finding:
    """Ask whether the API server knows all resources of a group."""
    try:
        known = {each["name"] for each in api.call("GET", f"/apis/{group_version}")["resources"]}
    except RefusedCallError:
        known = set()
    missing = [plural for plural in plurals if plural not in known]
    if missing:
        return Finding(group_version, FAIL, f"the cluster has no resource {', '.join(missing)}", fix)
    return Finding(group_version, PASS, f"the cluster has {', '.join(plurals)}")


def check_permissions(api: ApiServer, permissions: Iterable[Permission]) -> list[Finding]:
    """Ask for each permission with a SelfSubjectAccessReview. The fix is the line of the Role."""
    findings = []
    for each in permissions:
        refused = [verb for verb in each.verbs if not _may(api, each, verb)]
        subject = f"permission on {each.resource}"
        if refused:
            rule = f'{{apiGroups: ["{each.group}"], resources: ["{each.resource}"], verbs: {_quote(refused)}}}'
            text = f"this account may not {', '.join(refused)} {each.resource} in namespace {api.namespace}"
            findings.append(Finding(subject, FAIL, text, f"Add this rule to its Role in namespace {api.namespace}: {rule}"))
        else:
            findings.append(Finding(subject, PASS, f"may {', '.join(each.verbs)} in namespace {api.namespace}"))
    return findings


def check_requester(api: ApiServer) -> Finding:
    """Say whether this account may request a rollout. That is a note, because an approver or a submitter need not be able to."""
    missing = [f"{verb} {each.resource}" for each in REQUESTER_PERMISSIONS for verb in each.verbs if not _may(api, each, verb)]
    subject, namespace = REQUESTS, api.namespace
    if not missing:
        return Finding(subject, PASS, f"this account may request rollouts in namespace {namespace}")
    text = f"this account may not request rollouts in namespace {namespace}, because it may not {', '.join(missing)}"
    fix = (
        f"If it shall request rollouts, bind it to the Role sluice-requester of namespace {namespace}. No other role needs this."
    )
    return Finding(subject, NOTE, text, fix)


def _quote(verbs: list[str]) -> str:
    return "[" + ", ".join(f'"{verb}"' for verb in verbs) + "]"


def _may(api: ApiServer, permission: Permission, verb: str) -> bool:
    resource, _, part = permission.resource.partition("/")
    attributes: dict[str, Any] = {"namespace": api.namespace, "group": permission.group, "resource": resource, "verb": verb}
    attributes |= {"subresource": part} if part else {}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"])


def check_tokens(table: ArgoTable) -> Finding:
    """Say which steps have a token, and which ones lack one that they need."""
    if table.step_tokens:
        fix = "Set argo.step_tokens = false and [argo.service_accounts] as in docs/how-to/argo.md."
        return Finding("tokens of steps", NOTE, "every step has a token, also those that run code of the project", fix)
    missing = [name for name in CALL_AN_API_SERVER if name not in table.service_accounts]
    if missing:
        text = f"no service account, and so no token, for {', '.join(missing)}"
        return Finding("tokens of steps", NOTE, text, "If a pipeline has this step, name its account in [argo.service_accounts].")
    return Finding("tokens of steps", PASS, f"only {', '.join(table.service_accounts)} have one")
