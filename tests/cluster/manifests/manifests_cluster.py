"""manifests/ in a real cluster: kubectl with an administrator's rights, and in the name of others."""

from __future__ import annotations

import contextlib
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

MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
SELDON, ISTIO = "seldondeployments.machinelearning.seldon.io", "virtualservices.networking.istio.io"
POLICIES = ("sluice-approvals", "sluice-steering")
RULES = "prometheusrules.monitoring.coreos.com"


@dataclass(frozen=True)
class Answer:
    """What kubectl said."""

    code: int
    out: str
    error: str

    @property
    def done(self) -> bool:
        return self.code == 0


def kubectl(*arguments: str, given: object = None, user: str = "", groups: Sequence[str] = ()) -> Answer:
    """One call of kubectl; `given` goes to its standard input as JSON, `user` and `groups` are impersonated."""
    who = [f"--as={user}", *(f"--as-group={group}" for group in groups)] if user else []
    text = json.dumps(given) if given is not None else None
    command = ["kubectl", *who, *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    return Answer(ended.returncode, ended.stdout, ended.stderr)


def find_missing() -> str:
    """What these tests lack, or nothing."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    found = kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1", "--request-timeout=10s")
    if not found.done:
        return f"the cluster of KUBECONFIG does not answer: {found.error[:200]}"
    if "validatingadmissionpolicies" not in found.out:
        return "the cluster has no ValidatingAdmissionPolicy (Kubernetes 1.30 or newer)"
    return ""


@dataclass
class Site:
    """The manifests under names of this session's own, so that nothing else in the cluster meets their policies."""

    session: str = field(default_factory=lambda: uuid.uuid4().hex[:6])

    def __post_init__(self) -> None:
        self.production, self.pipelines = f"mf-{self.session}", f"mf-{self.session}-steps"
        self.monitoring = f"mf-{self.session}-monitoring"
        self.kinds = {name for name in (SELDON, ISTIO, RULES) if kubectl("get", "crd", name).done}

    def build(self, overlay: str) -> list[dict[str, Any]]:
        """The objects of an overlay with this session's names."""
        text = subprocess.run(
            ["kubectl", "kustomize", str(MANIFESTS / overlay)], capture_output=True, text=True, check=True
        ).stdout
        for old, new in (("production", self.production), ("pipelines", self.pipelines)):
            text = text.replace(f"sluice-{old}", new)
        for policy in POLICIES:
            text = text.replace(f"name: {policy}\n", f"name: {policy}-{self.session}\n")
            text = text.replace(f"policyName: {policy}\n", f"policyName: {policy}-{self.session}\n")
        found = [item for item in yaml.safe_load_all(text) if item]
        return [self._confine(item) for item in found]

    def _confine(self, item: dict[str, Any]) -> dict[str, Any]:
        """Cluster-wide names are the session's, and policies hold in its namespaces alone."""
        own = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [self.production]}]}
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
            item["spec"]["replicas"] = 0  # its image is the project's own
        if item["kind"] == "Namespace":
            metadata["labels"] |= {"seldon.io/controller-id": "none", "sluice.test/session": self.session}
        if metadata.get("namespace") in {"kubeflow", "monitoring"}:
            metadata["namespace"] = self.pipelines if metadata["namespace"] == "kubeflow" else self.monitoring
        return item

    def apply(self, items: Sequence[Mapping[str, Any]], *flags: str) -> Answer:
        """Apply objects."""
        return kubectl("apply", *flags, "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(items)})

    def set_up(self) -> None:
        """Install production and the pipelines' namespace."""
        for overlay in ("overlays/production", "overlays/argo"):
            items = sorted(self.build(overlay), key=lambda item: item["kind"] != "Namespace")
            answer = self.apply(items)
            assert answer.done, answer.error
        kubectl("create", "namespace", self.monitoring)

    def tear_down(self) -> None:
        """Take everything away again, policies first: nothing is held to what is going."""
        for policy in POLICIES:
            for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
                kubectl("delete", kind, f"{policy}-{self.session}", "--ignore-not-found")
        kubectl("delete", "priorityclass", f"sluice-controller-{self.session}", "--ignore-not-found")
        for namespace in (self.production, self.pipelines, self.monitoring):
            kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")

    def account(self, name: str, namespace: str = "") -> str:
        """What the API server calls a service account."""
        return f"system:serviceaccount:{namespace or self.production}:{name}"


def wait_for(met: Callable[[], bool], what: str, tries: int = 60) -> None:
    """Look again for half a minute: policies take effect a moment after they were made."""
    import time

    for _ in range(tries):
        with contextlib.suppress(AssertionError):
            if met():
                return
        time.sleep(0.5)
    raise AssertionError(f"still not: {what}")


def needs(site: Site, *kinds: str) -> None:
    if missing := [kind for kind in kinds if kind not in site.kinds]:
        pytest.skip(f"manifests on a cluster: {', '.join(missing)} is not registered")
