"""Scale production on a real API server with real Pods: `kubectl scale`, an autoscaler, and a rollback onto too few Pods."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

from deployments_under_test import wait_for
from load import Load

from sluice.rollout.decisions.states import Command, CommandKind
from sluice.rollout.platforms.seldon.api import AUTOSCALER, MODEL_ROLLOUT
from sluice.rollout.requests import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployments_under_test import DeploymentUnderTest

QUOTA = "no-new-pods"


def test_all_releases_follow_a_scaled_modelrollout_and_a_rollback_moves_as_fast_as_its_pods(
    make_deployment: Callable[..., DeploymentUnderTest],
) -> None:
    deployment = make_deployment("scaling", steps=(50, 100))
    first = deployment.ensure_champion()
    with Load(deployment.url, 60.0) as load:
        second = deployment.start_rollout()
        deployment.wait_state("step-1")
        commands.promote(deployment.project, second, by="eve", why="a test")
        assert deployment.wait_end(second) == "promoted"

        deployment.kubectl("scale", "--replicas=2")
        wait_for(lambda: count_ready(deployment, first, second) == [2, 2], 90, "two ready Pods of N-1 and of the champion")
        wait_for(lambda: read_status(deployment)["replicas"] == 2, what="the replicas in the status")
        check_what_kubectl_shows(deployment)

        check_autoscaling(deployment, first, second)
        check_rollback(deployment, first, second)
    assert not load.failed(), [one for one in load.answers if one.failed][:5]


def check_autoscaling(deployment: DeploymentUnderTest, *releases: str) -> None:
    """Let Kubernetes' own autoscaler raise the ModelRollout to its minimum. That needs no metrics."""
    patch_spec(deployment, {"autoscaling": {"minReplicas": 3, "maxReplicas": 4, "targetCPUUtilizationPercentage": 60}})
    wait_for(lambda: deployment.cluster.get(AUTOSCALER, deployment.name), what="the HorizontalPodAutoscaler")
    wait_for(lambda: (deployment.cluster.get(MODEL_ROLLOUT, deployment.name) or {})["spec"]["replicas"] == 3, 90, "3 replicas")
    found = deployment.cluster.get(AUTOSCALER, deployment.name) or {}
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions["AbleToScale"] == "True", found["status"]
    wait_for(lambda: count_ready(deployment, *releases) == [3, 3], 90, "three ready Pods of N-1 and of the champion")

    change = {"spec": {"maxReplicas": 100}}
    path = AUTOSCALER.path(deployment.namespace.name, deployment.name)
    deployment.namespace.kube.merge(path, change)
    wait_for(lambda: read_autoscaler(deployment)["spec"]["maxReplicas"] == 4, what="the maximum that the ModelRollout names")
    patch_spec(deployment, {"autoscaling": None})
    wait_for(lambda: not read_autoscaler(deployment), what="the end of the HorizontalPodAutoscaler")


def check_rollback(deployment: DeploymentUnderTest, first: str, second: str) -> None:
    """Roll the champion back while N-1 has one of three Pods, then let the other two start."""
    with no_new_pods(deployment, first):
        order_rollback(deployment, first)
        wait_for(lambda: deployment.route_weights() == {first: 33, second: 67}, what="33 % at N-1")
        wait_for(lambda: "waits for N-1's Pods (1 of 3 ready)" in read_status(deployment)["message"], what="the message")
        assert read_status(deployment)["champion"]["digest"] == second
    wait_for(lambda: deployment.read_journal().champion == first or retry_pods(deployment), 90, "the rest of the rollback")
    deployment.check_converged()
    moves = [one for one in deployment.transitions(second) if one.commanded_by == "kim"]
    assert moves[0].weights[first] == 33
    assert moves[-1].weights == {first: 100, second: 0}
    for one in moves[:-1]:
        (ready,) = re.findall(r"waits for N-1's Pods \((\d) of 3 ready\)", one.reason)
        assert one.weights[first] <= 100 * int(ready) // 3, one
    assert "CommandAnswered" in deployment.kubectl("describe")


@contextlib.contextmanager
def no_new_pods(deployment: DeploymentUnderTest, release: str) -> Iterator[None]:
    """Delete all Pods of a release but one, and let the namespace have no room for others until the end."""
    kube, namespace = deployment.namespace.kube, deployment.namespace.name
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA}, "spec": {"hard": {"pods": "1"}}}
    kube.ask("POST", path, quota)
    try:
        wait_for(lambda: kube.ask("GET", f"{path}/{QUOTA}").get("status", {}).get("hard"), what="the quota")
        # A Pod that ends still gets requests for a moment, which would be lost for another reason. kubectl waits for its end.
        others = [pod.name for pod in deployment.pods(release)[1:]]
        flags = ["-n", namespace, "--grace-period=1", "--timeout=60s"]
        subprocess.run(["kubectl", "delete", "pod", *others, *flags], check=True, capture_output=True, timeout=90)
        assert count_ready(deployment, release) == [1]
        yield
    finally:
        kube.delete(f"{path}/{QUOTA}")


def retry_pods(deployment: DeploymentUnderTest) -> None:
    """Let Kubernetes try at once to start the Pods for which there was no room. Otherwise it waits longer after each failure."""
    kube, path = deployment.namespace.kube, f"/apis/apps/v1/namespaces/{deployment.namespace.name}/replicasets"
    for one in kube.list(path):
        if one["spec"]["replicas"] > one["status"].get("replicas", 0):
            kube.merge(f"{path}/{one['metadata']['name']}", {"metadata": {"annotations": {"tried": str(time.time())}}})


def order_rollback(deployment: DeploymentUnderTest, target: str) -> None:
    """Order a rollback without waiting for its end, as `kubectl patch` does."""
    command = Command(kind=CommandKind.ROLLBACK, by="kim", at=time.time(), target=target, id=uuid.uuid4().hex)
    deployment.journal.update(lambda journal: dataclasses.replace(journal, command=command))


def patch_spec(deployment: DeploymentUnderTest, spec: dict[str, Any]) -> None:
    flags = ["-n", deployment.namespace.name, "--type=merge", "-p", json.dumps({"spec": spec})]
    subprocess.run(["kubectl", "patch", f"modelrollout/{deployment.name}", *flags], check=True, capture_output=True, timeout=60)


def read_status(deployment: DeploymentUnderTest) -> dict[str, Any]:
    return dict((deployment.cluster.get(MODEL_ROLLOUT, deployment.name) or {})["status"])


def read_autoscaler(deployment: DeploymentUnderTest) -> dict[str, Any]:
    return deployment.cluster.get(AUTOSCALER, deployment.name) or {}


def count_ready(deployment: DeploymentUnderTest, *releases: str) -> list[int]:
    """Return how many ready Pods each release has; a Pod that is not ready counts against it."""
    found = [deployment.pods(release) for release in releases]
    return [sum(pod.ready for pod in pods) if all(pod.ready for pod in pods) else -1 for pods in found]


def check_what_kubectl_shows(deployment: DeploymentUnderTest) -> None:
    """Check the columns, the scale, and that its selector selects the champion's Pods and no others."""
    header, row = deployment.kubectl("get").splitlines()
    assert row[header.index("PODS") :].split()[0] == "2", row
    path = MODEL_ROLLOUT.path(deployment.namespace.name, deployment.name)
    scale = deployment.namespace.kube.ask("GET", f"{path}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    pods = f"/api/v1/namespaces/{deployment.namespace.name}/pods"
    selected = deployment.namespace.kube.list(pods, labelSelector=scale["status"]["selector"])
    champion = deployment.read_journal().champion or ""
    assert {pod["metadata"]["name"] for pod in selected} >= {pod.name for pod in deployment.pods(champion)}
    assert all(champion in str(pod["spec"]) for pod in selected)
