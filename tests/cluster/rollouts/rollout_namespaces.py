"""The namespace of a test session, with the kinds of Seldon and Istio and with the stand-in operator."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kube import CRDS, SELDON, SLUICE, Kube, RefusedError
from stand_in_images import push_model

from sluice.release.registry.image_references import read_image_reference
from sluice.rollout.platforms.laptop.child_processes import end_child, start_child

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = {
    "seldondeployments": ("machinelearning.seldon.io", "SeldonDeployment", ("v1",)),
    "virtualservices": ("networking.istio.io", "VirtualService", ("v1beta1", "v1alpha3")),
    "destinationrules": ("networking.istio.io", "DestinationRule", ("v1beta1", "v1alpha3")),
}
STAND_INS = Path(__file__).parent / "stand_ins"
OWN_KINDS = Path(__file__).parents[3] / "manifests" / "crds"


def find_missing() -> str:
    """Return what these tests need and do not have; empty if nothing is missing."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    for name in ("SLUICE_TEST_REPOSITORY", "SLUICE_TEST_PYTHON_IMAGE"):
        if not os.environ.get(name):
            return f"{name} is not set"
    try:
        Kube().ask("GET", "/version")
    except Exception as error:  # noqa: BLE001 - any error means that there is no cluster to test on
        return f"the cluster of KUBECONFIG does not answer: {str(error)[:200]}"
    return ""


@dataclass
class RolloutNamespace:
    """One namespace with an operator.

    Attributes:
        folder: Folder for logs and projects.
        seldon: Whether a real operator acts in the namespace. If not, the stand-in does.
        name: The name of the namespace.
        registered: Kinds that the cluster did not have and that the tests registered. They accept any content.
        gateway_metrics: URL of the data plane's metrics; empty until it runs.
        model_image: Image of the stand-in model.
        broken_image: Image of a stand-in model that ends as soon as it starts.
    """

    folder: Path
    seldon: bool = field(default_factory=lambda: os.environ.get("SLUICE_TEST_SELDON") == "1")
    name: str = field(default_factory=lambda: f"sluice-rollout-{uuid.uuid4().hex[:6]}")
    registered: list[str] = field(default_factory=list)
    gateway_metrics: str = ""
    model_image: str = ""
    broken_image: str = ""
    _operator: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.kube = Kube()
        self.python_image = os.environ["SLUICE_TEST_PYTHON_IMAGE"]
        self.repository = os.environ["SLUICE_TEST_REPOSITORY"]

    def set_up(self) -> None:
        """Make the namespace, push the stand-in model's images, and start the operator."""
        self.register()
        labels = {"sluice.test/rollouts": "yes"} | ({} if self.seldon else {"seldon.io/controller-id": "stand-in"})
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}}
        self.kube.ask("POST", "/api/v1/namespaces", body)
        self.model_image, self.broken_image = self.push(), self.push("--broken")
        self.start_operator()

    def push(self, *flags: str, mark: str = "") -> str:
        """Push an image of the stand-in model, and return its name by digest. Each `mark` makes another image."""
        return push_model(read_image_reference(self.python_image), read_image_reference(self.repository), *flags, mark=mark)

    def start_operator(self) -> None:
        """Start the stand-in operator, unless a real operator acts in the namespace."""
        if not self.seldon:
            command = [sys.executable, str(STAND_INS / "stand_in_operator.py"), self.name, self.python_image]
            self._operator = start_child(command, log=self.folder / "operator.log")

    def stop_operator(self) -> None:
        """Stop the stand-in operator."""
        if self._operator is not None:
            end_child(self._operator)

    def register(self) -> None:
        """Register Sluice's kinds, and those of others that the cluster does not have. The latter accept any content."""
        register_own_kinds(self.kube)
        for plural, (group, kind, versions) in KINDS.items():
            name = f"{plural}.{group}"
            if self.kube.find(f"{CRDS}/{name}") is None:
                self.kube.ask("POST", CRDS, _plan_kind(plural, group, kind, versions))
                self.registered.append(name)
        wait_until_served(self.kube, {plural: f"/apis/{group}/{versions[0]}" for plural, (group, _, versions) in KINDS.items()})

    def path(self, root: str, plural: str, name: str = "") -> str:
        """Return the API path of a kind in this namespace, or of one object."""
        return f"{root}/namespaces/{self.name}/{plural}" + (f"/{name}" if name else "")

    def tear_down(self) -> None:
        """Delete the SeldonDeployments and the namespace, and stop the operator."""
        for one in self.kube.list(self.path(SELDON, "seldondeployments")):
            self.kube.delete(self.path(SELDON, "seldondeployments", one["metadata"]["name"]))
        self.kube.delete(f"/api/v1/namespaces/{self.name}")
        self.stop_operator()

    def read_operator_log(self) -> str:
        """Return the end of the stand-in operator's log."""
        log = self.folder / "operator.log"
        return log.read_text()[-2000:] if log.exists() else ""


def register_own_kinds(kube: Kube) -> None:
    """Register Sluice's kinds, and wait until the API server serves them."""
    subprocess.run(["kubectl", "apply", "-k", str(OWN_KINDS)], check=True, capture_output=True)
    wait_until_served(kube, {"modelrollouts": SLUICE, "rolloutapprovals": SLUICE})


def wait_until_served(kube: Kube, roots: Mapping[str, str]) -> None:
    """Wait until the API server has accepted the names of kinds and lists their objects.

    After a kind was registered or changed, the API server refuses its objects for a moment, because it makes their storage ready.

    Args:
        kube: The API server.
        roots: The path of the API version of each kind, by the kind's plural.

    Raises:
        AssertionError: A kind cannot be listed within a minute.
    """
    names = [f"crd/{plural}.{root.split('/')[2]}" for plural, root in roots.items()]
    subprocess.run(["kubectl", "wait", "--for=condition=Established", "--timeout=60s", *names], check=True, capture_output=True)
    deadline = time.monotonic() + 60
    for plural, root in roots.items():
        while (refusal := _try_to_list(kube, f"{root}/{plural}")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not refusal, f"{plural} cannot be listed: {refusal}"


def _try_to_list(kube: Kube, path: str) -> str:
    try:
        kube.list(path)
    except RefusedError as error:
        return str(error)
    return ""


def _plan_kind(plural: str, group: str, kind: str, versions: tuple[str, ...]) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {"name": version, "served": True, "storage": version == versions[-1], "schema": schema} for version in versions
            ],
        },
    }
