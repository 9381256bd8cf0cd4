"""What each account of a pipeline may do on a real API server, asked with SubjectAccessReviews, and what it is refused."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from kubernetes import client, config
from manifests_cluster import kubectl, wait_for

from sluice import kubernetes_calls
from sluice.errors import ServiceError
from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.project.tables.serving import ServingTable
from sluice.scoring.release_pods import plan_pod, start_pod

REPOSITORY = Path(__file__).parents[3]

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifests_cluster import Installation

SLUICE = "sluice.dev"
SELDON, ISTIO, ARGO, RBAC = "machinelearning.seldon.io", "networking.istio.io", "argoproj.io", "rbac.authorization.k8s.io"
ACCOUNTS = ("sluice-pipeline", "sluice-reader", "sluice-gate", "sluice-integration", "sluice-canary")


class Right(NamedTuple):
    """A verb on a resource in one of the namespaces: production, pipelines, triggers or trials."""

    place: str
    verb: str
    resource: str
    group: str = ""
    name: str = ""


OWN_RESULT = {Right("pipelines", verb, "workflowtaskresults", ARGO) for verb in ("create", "patch")}
JOURNAL = {
    Right("production", verb, kind, SLUICE) for kind in ("modelrollouts", "rolloutapprovals") for verb in ("get", "list", "watch")
} | {Right("production", "get", "leases", "coordination.k8s.io"), Right("production", "list", "events")}
LEDGER = {Right("pipelines", verb, "configmaps", name="sluice-ledger") for verb in ("get", "update")}
TRIALS = {Right("trials", verb, "pods") for verb in ("get", "create", "delete")} | {Right("trials", "get", "pods/log")}
REQUEST = {Right("production", verb, "modelrollouts", SLUICE) for verb in ("create", "patch", "request")}
ALLOWED = {
    "sluice-pipeline": OWN_RESULT,
    "sluice-reader": OWN_RESULT | JOURNAL,
    "sluice-gate": OWN_RESULT | JOURNAL | LEDGER,
    "sluice-integration": OWN_RESULT | TRIALS,
    "sluice-canary": OWN_RESULT | JOURNAL | REQUEST,
}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
ASKED = (
    {right for rights in ALLOWED.values() for right in rights}
    | {Right("pipelines", verb, "configmaps", name="sluice-ledger") for verb in VERBS}
    | {Right(place, verb, "configmaps") for place in ("production", "pipelines", "triggers", "trials") for verb in VERBS}
    | {Right(place, verb, "secrets") for place in ("production", "pipelines", "triggers", "trials") for verb in VERBS}
    | {Right(place, verb, "pods") for place in ("production", "pipelines", "triggers", "trials") for verb in VERBS}
    | {Right(place, "create", sub) for place in ("production", "pipelines", "trials") for sub in ("pods/exec", "pods/attach")}
    | {Right(place, "update", "pods/ephemeralcontainers") for place in ("production", "pipelines", "trials")}
    | {Right(place, "create", "serviceaccounts/token") for place in ("production", "pipelines", "triggers", "trials")}
    | {Right(place, verb, "seldondeployments", SELDON) for place in ("production", "pipelines") for verb in VERBS}
    | {Right("production", verb, "modelrollouts", SLUICE) for verb in (*VERBS, "request", "rollback", "scale")}
    | {Right("production", verb, "modelrollouts/status", SLUICE) for verb in VERBS}
    | {Right("production", verb, "rolloutapprovals", SLUICE) for verb in VERBS}
    | {Right("production", verb, "virtualservices", ISTIO) for verb in VERBS}
    | {Right("production", verb, "leases", "coordination.k8s.io") for verb in VERBS}
    | {Right("production", verb, "events") for verb in VERBS}
    | {Right("pipelines", verb, kind, ARGO) for kind in ("workflows", "workflowtemplates", "cronworkflows") for verb in VERBS}
    | {Right("pipelines", verb, "workflowtaskresults", ARGO) for verb in VERBS}
    | {Right(place, verb, "rolebindings", RBAC) for place in ("production", "pipelines", "trials") for verb in VERBS}
    | {Right("trials", verb, kind) for kind in ("services", "serviceaccounts", "persistentvolumeclaims") for verb in VERBS}
)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_has_exactly_its_rights(installation: Installation, account: str) -> None:
    config.load_kube_config()
    reviews, user = client.AuthorizationV1Api(), installation.account(account, installation.pipelines)
    found = set()
    for right in ASKED:
        resource, _, part = right.resource.partition("/")
        asked = client.V1ResourceAttributes(
            namespace=getattr(installation, right.place),
            verb=right.verb,
            group=right.group,
            resource=resource,
            subresource=part or None,
            name=right.name or None,
        )
        spec = client.V1SubjectAccessReviewSpec(user=user, resource_attributes=asked)
        if reviews.create_subject_access_review(client.V1SubjectAccessReview(spec=spec)).status.allowed:
            found.add(right)
    assert found == ALLOWED[account], {"too much": found - ALLOWED[account], "missing": ALLOWED[account] - found}


def test_a_pod_of_the_integration_tests_can_use_no_account_with_rights_and_no_secret(installation: Installation) -> None:
    """An account that may create Pods can use what its namespace has, so there must be nothing of use in it."""
    accounts = kubectl("get", "serviceaccounts", "-n", installation.trials, "-o", "name").out.split()
    assert accounts == ["serviceaccount/default"]
    assert kubectl("get", "secrets", "-n", installation.trials, "-o", "name").out == ""
    assert kubectl("get", "persistentvolumeclaims", "-n", installation.trials, "-o", "name").out == ""
    user = installation.account("sluice-integration", installation.pipelines)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial"},
        "spec": {"containers": [{"name": "main", "image": "model"}], "hostNetwork": True},
    }
    refused = kubectl("create", "--dry-run=server", "-n", installation.trials, "-f", "-", given=pod, user=user)
    assert "PodSecurity" in refused.error
    elsewhere = kubectl("create", "--dry-run=server", "-n", installation.pipelines, "-f", "-", given=pod, user=user)
    assert "cannot create resource" in elsewhere.error


def test_the_pod_that_serves_a_release_is_admitted_for_trials_as_sluice_plans_it(installation: Installation) -> None:
    user = installation.account("sluice-integration", installation.pipelines)
    settings = Settings(**tomllib.loads((REPOSITORY / "sluice.toml").read_text()))
    planned = plan_pod(settings, "registry.example.com/churn@sha256:" + "1" * 64, "sha256:" + "2" * 64, owner=None)
    admitted = kubectl("create", "--dry-run=server", "-n", installation.trials, "-f", "-", given=planned, user=user)
    assert admitted.succeeded, admitted.error
    assert not admitted.error, "the API server warns"


@pytest.fixture
def act_as(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets this process act in the Pod of a step, with the token of an account."""

    def act(account: str) -> None:
        config.load_kube_config()
        own = client.Configuration.get_default_copy()
        folder = tmp_path / account
        folder.mkdir()
        token = kubectl("create", "token", account, "-n", installation.pipelines).out
        (folder / "token").write_text(token.strip())
        (folder / "namespace").write_text(installation.pipelines)
        shutil.copyfile(str(own.ssl_ca_cert), folder / "ca.crt")
        address = urlsplit(str(own.host))
        monkeypatch.setattr(kubernetes_calls, "POD_ACCOUNT", folder)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))

    return act


def test_the_integration_tests_start_and_delete_a_pod_where_they_may_and_no_other_step_can(
    installation: Installation, act_as: Callable[[str], None], tmp_path: Path
) -> None:
    serving = ServingTable(test_namespace=installation.trials, start_timeout_seconds=3)
    project = Project(tmp_path, Settings.model_construct(serving=serving))
    digest, log = "sha256:" + "2" * 64, tmp_path / "log"
    act_as("sluice-gate")
    with pytest.raises(ServiceError, match=f"does not allow this step to create a Pod in namespace {installation.trials}"):
        start_pod(project, tmp_path, digest, "nowhere.example/churn@sha256:" + "1" * 64, log=log)
    act_as("sluice-integration")
    with pytest.raises(ServiceError, match="of release sha256:222222222222 was not ready within 3 s"):
        start_pod(project, tmp_path, digest, "nowhere.example/churn@sha256:" + "1" * 64, log=log)
    pods = ["get", "pods", "-n", installation.trials, "-o", "name"]
    wait_for(lambda: not kubectl(*pods).out, "the Pod to be deleted")
