"""Questions about the objects in a namespace of pipelines that the settings name, and about its Pod Security level."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding
from sluice.engines.argo.api_server import ApiServer, RefusedCallError
from sluice.engines.argo.credentials import connect
from sluice.errors import SluiceError
from sluice.steps.before_training.places import find_missing_places

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.project.settings import Settings

KFP_NAMESPACE = "kubeflow"
"""Where a KFP with a single user runs its steps."""

ENFORCE = "pod-security.kubernetes.io/enforce"
RESTRICTED = "restricted"


def check_accounts(api: ApiServer, project: Project) -> list[Finding]:
    """Ask whether the service accounts and the artifact repository that the settings name exist."""
    table = project.settings.argo
    named = {
        "argo.service_account": ("serviceaccounts", table.service_account),
        **{f"argo.service_accounts.{key}": ("serviceaccounts", name) for key, name in table.service_accounts.items()},
        **{f"argo.signing_secrets.{key}": ("secrets", name) for key, name in table.signing_secrets.items()},
        "argo.artifact_repository": ("configmaps", table.artifact_repository.partition("/")[0]),
    }
    return [check_object(api, key, plural, name) for key, (plural, name) in named.items() if name]


def check_kfp_accounts(project: Project) -> list[Finding]:
    """Ask whether the account and the Secrets of ``[kfp]`` exist. This asks the API server of the kubeconfig, if there is one."""
    table = project.settings.kfp
    named = {
        "kfp.service_account": ("serviceaccounts", table.service_account),
        **{f"kfp.token_secrets.{key}": ("secrets", name) for key, name in table.token_secrets.items()},
        **{f"kfp.signing_secrets.{key}": ("secrets", name) for key, name in table.signing_secrets.items()},
    }
    wanted = {key: found for key, found in named.items() if found[1]}
    if not wanted:
        return []
    try:
        api = connect(project.settings.argo.model_copy(update={"namespace": table.namespace or KFP_NAMESPACE}))
        return [check_object(api, key, plural, name) for key, (plural, name) in wanted.items()]
    except SluiceError as error:
        text = f"nobody knows whether {', '.join(wanted)} exist: {error.message}"
        return [Finding("accounts of KFP", NOTE, text, error.hint)]


def check_object(api: ApiServer, key: str, plural: str, name: str) -> Finding:
    """Ask whether an object exists. An account that may not read it gets a note, because submitting does not need that right."""
    try:
        api.call("GET", f"/api/v1/namespaces/{api.namespace}/{plural}/{name}")
    except RefusedCallError as error:
        if error.refusal.status == HTTPStatus.FORBIDDEN:
            text = f"this account may not read {plural} in namespace {api.namespace}, so nobody knows whether {name} exists"
            return Finding(key, NOTE, text, "Ask the people who run the cluster.")
        fix = f"Create it, or correct {key} in sluice.toml."
        return Finding(key, FAIL, f"{name} in namespace {api.namespace}: {error.refusal.message}", fix)
    return Finding(key, PASS, f"{plural[:-1]} {name} exists in namespace {api.namespace}")


def check_security(api: ApiServer, security: str) -> Finding:
    """Compare ``argo.security`` with the Pod Security level that the namespace of the pipelines enforces."""
    try:
        found = api.call("GET", f"/api/v1/namespaces/{api.namespace}")
    except RefusedCallError as error:
        text = f"the Pod Security level of namespace {api.namespace} cannot be read: {error.refusal.message}"
        return Finding("argo.security", NOTE, text, 'If it is `restricted`, set argo.security = "restricted".')
    return judge_security(security, (found["metadata"].get("labels") or {}).get(ENFORCE, ""), api.namespace)


def judge_security(security: str, enforced: str, namespace: str) -> Finding:
    """Say whether a namespace admits the Pods of steps. A Pod that asks for nothing meets every level but `restricted`."""
    text = f"namespace {namespace} enforces {enforced or 'no Pod Security level'}, and argo.security is {security!r}"
    if enforced == RESTRICTED and security != RESTRICTED:
        return Finding("argo.security", FAIL, f"{text}, so it refuses the Pods of steps", 'Set argo.security = "restricted".')
    return Finding("argo.security", PASS, text)


def check_settings_for_pods(settings: Settings) -> Finding:
    """Look whether the settings are there without which the first step in a Pod fails. ``steps.env`` may set them, too."""
    subject = "settings for Pods"
    missing = [key for key in find_missing_places(settings) if not settings.steps.env.get(_variable(key))]
    if missing:
        text = f"the first step fails, because these settings are missing: {', '.join(missing)}"
        return Finding(subject, FAIL, text, "Set them in sluice.toml or in steps.env. docs/cluster.md says what a Pod needs.")
    return Finding(subject, PASS, "the first step finds the registry, the gate's ledger and the holdout's digest")


def _variable(key: str) -> str:
    return f"SLUICE_{key.replace('.', '__').upper()}"
