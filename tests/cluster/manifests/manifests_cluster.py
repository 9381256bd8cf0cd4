"""Install manifests/ in a real cluster, and call kubectl as an administrator or as another user."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kubernetes.client import ApiClient

MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
SELDON, ISTIO = "seldondeployments.machinelearning.seldon.io", "virtualservices.networking.istio.io"
POLICIES = ("sluice-approvals", "sluice-requests", "sluice-steering", "sluice-results")
PROMETHEUS_RULES = "prometheusrules.monitoring.coreos.com"
SERVICE_MONITORS = "servicemonitors.monitoring.coreos.com"
EVENT_BINDINGS = "workfloweventbindings.argoproj.io"


@dataclass(frozen=True)
class KubectlResult:
    """The result of a kubectl command: exit code, output and error output."""

    code: int
    out: str
    error: str

    @property
    def succeeded(self) -> bool:
        return self.code == 0


def kubectl(*arguments: str, given: object = None, user: str = "", groups: Sequence[str] = ()) -> KubectlResult:
    """Run kubectl.

    Args:
        *arguments: Its arguments.
        given: A document that kubectl gets as JSON on its standard input.
        user: The user that kubectl impersonates; empty for the administrator of the kubeconfig.
        groups: The groups of that user.
    """
    impersonation = [f"--as={user}", *(f"--as-group={group}" for group in groups)] if user else []
    text = json.dumps(given) if given is not None else None
    command = ["kubectl", *impersonation, *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    return KubectlResult(ended.returncode, ended.stdout, ended.stderr)


def may(user: str, verb: str, resource: str, namespace: str, *, groups: Sequence[str] = (), name: str = "") -> bool:
    """Ask the API server whether a user may do something.

    The question is a SubjectAccessReview of the administrator. `kubectl auth can-i` cannot ask it, because kubectl drops the API
    group of a kind that is not registered. It then asks about another resource, and the answer is always no.

    Args:
        user: The name of the user or service account.
        verb: What the user wants to do.
        resource: The plural of a kind with its API group and a subresource: `pods/exec`, `workflows.argoproj.io`.
        namespace: Where.
        groups: The groups of the user, besides those that the API server gives to every account.
        name: The name of one object; empty for all.
    """
    from kubernetes import client

    found, _, sub = resource.partition("/")
    found, _, group = found.partition(".")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": found, "subresource": sub, "name": name}
    spec = {"user": user, "groups": [*groups, *_implied_groups(user)], "resourceAttributes": attributes}
    review = client.AuthorizationV1Api(_administrator()).create_subject_access_review({"spec": spec})
    assert not review.status.evaluation_error, review.status
    return bool(review.status.allowed)


@functools.cache
def _administrator() -> ApiClient:
    """Return a connection to the API server as the administrator of the kubeconfig."""
    from kubernetes import config

    return config.new_client_from_config()


def _implied_groups(user: str) -> list[str]:
    """Return the groups that the API server gives to every user, and to every service account."""
    if not user.startswith("system:serviceaccount:"):
        return ["system:authenticated"]
    namespace = user.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]


def find_missing() -> str:
    """Return what these tests need and do not have; empty if nothing is missing."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    found = kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1", "--request-timeout=10s")
    if not found.succeeded:
        return f"the cluster of KUBECONFIG does not result: {found.error[:200]}"
    if "validatingadmissionpolicies" not in found.out:
        return "the cluster has no ValidatingAdmissionPolicy (Kubernetes 1.30 or newer)"
    return ""


@dataclass
class Installation:
    """The manifests, installed under names of this session, so that their policies apply to nothing else in the cluster."""

    session: str = field(default_factory=lambda: uuid.uuid4().hex[:6])

    def __post_init__(self) -> None:
        self.production, self.pipelines = f"mf-{self.session}", f"mf-{self.session}-steps"
        self.monitoring = f"mf-{self.session}-monitoring"
        self.triggers, self.trials = f"mf-{self.session}-triggers", f"mf-{self.session}-trials"
        self.kinds = {
            name
            for name in (SELDON, ISTIO, PROMETHEUS_RULES, SERVICE_MONITORS, EVENT_BINDINGS)
            if kubectl("get", "crd", name).succeeded
        }

    def build(self, overlay: str) -> list[dict[str, Any]]:
        """Return the objects of an overlay with this session's names."""
        text = subprocess.run(
            ["kubectl", "kustomize", str(MANIFESTS / overlay)], capture_output=True, text=True, check=True
        ).stdout
        text = self.rename(text)
        for policy in POLICIES:
            text = text.replace(f"name: {policy}\n", f"name: {policy}-{self.session}\n")
            text = text.replace(f"policyName: {policy}\n", f"policyName: {policy}-{self.session}\n")
        found = [item for item in yaml.safe_load_all(text) if item]
        return [self._confine(item) for item in found]

    def rename(self, text: str) -> str:
        """Return a text with this session's names of the namespaces."""
        for old, new in (
            ("production", self.production),
            ("pipelines", self.pipelines),
            ("triggers", self.triggers),
            ("trials", self.trials),
        ):
            text = text.replace(f"sluice-{old}", new)
        return text

    def _confine(self, item: dict[str, Any]) -> dict[str, Any]:
        """Give cluster-wide objects the session's name, and restrict policies to its namespaces."""
        places = [self.production, self.pipelines]
        own = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": places}]}
        metadata = item["metadata"]
        if item["kind"] == "ValidatingAdmissionPolicyBinding":
            selector = item["spec"].setdefault("matchResources", {}).setdefault("namespaceSelector", {})
            selector.update(own)
        if item["kind"] == "PriorityClass":
            metadata["name"] += f"-{self.session}"
        if item["kind"] == "Deployment":
            pod = item["spec"]["template"]["spec"]
            if "priorityClassName" in pod:
                pod["priorityClassName"] += f"-{self.session}"
            item["spec"]["replicas"] = 0  # The project builds its image, so it does not exist here.
        if item["kind"] == "Namespace":
            metadata["labels"] |= {"seldon.io/controller-id": "none", "sluice.test/session": self.session}
        if metadata.get("namespace") in {"kubeflow", "monitoring", "istio-system"}:  # this cluster may not have them
            metadata["namespace"] = self.pipelines if metadata["namespace"] == "kubeflow" else self.monitoring
        return item

    def apply(self, items: Sequence[Mapping[str, Any]], *flags: str) -> KubectlResult:
        """Apply objects with kubectl."""
        return kubectl("apply", *flags, "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(items)})

    def set_up(self) -> None:
        """Install the overlays for production, for pipelines on Argo and for the triggers."""
        kubectl("create", "namespace", self.monitoring)
        for overlay in ("overlays/production", "overlays/argo", "overlays/triggers"):
            items = sorted(self.build(overlay), key=lambda item: item["kind"] != "Namespace")
            result = self.apply(items)
            assert result.succeeded, result.error
        # After a kind was registered or changed, the API server refuses its objects for a moment.
        own = [f"{plural}.sluice.dev" for plural in ("modelrollouts", "rolloutapprovals")]
        wait_for(lambda: all(kubectl("get", kind, "-n", self.production).succeeded for kind in own), "Sluice's kinds")

    def tear_down(self) -> None:
        """Delete everything, the policies first, so that they do not refuse the other deletions."""
        for policy in POLICIES:
            for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
                kubectl("delete", kind, f"{policy}-{self.session}", "--ignore-not-found")
        kubectl("delete", "priorityclass", f"sluice-controller-{self.session}", "--ignore-not-found")
        for namespace in (self.production, self.pipelines, self.monitoring, self.triggers, self.trials):
            kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")

    def account(self, name: str, namespace: str = "") -> str:
        """Return the user name that the API server gives a service account."""
        return f"system:serviceaccount:{namespace or self.production}:{name}"


def wait_for(met: Callable[[], bool], what: str, tries: int = 60) -> None:
    """Poll a condition for half a minute, because policies take effect a moment after they were created."""
    import time

    for _ in range(tries):
        with contextlib.suppress(AssertionError):
            if met():
                return
        time.sleep(0.5)
    raise AssertionError(f"waited in vain for: {what}")


def skip_unless_registered(installation: Installation, *kinds: str) -> None:
    """Skip the test if the cluster does not have one of these kinds."""
    if missing := [kind for kind in kinds if kind not in installation.kinds]:
        pytest.skip(f"manifests on a cluster: {', '.join(missing)} is not registered")
