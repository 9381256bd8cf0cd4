"""What one round of the controller sees of its cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.rollout.platforms.seldon.api import POD, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.objects.predictors import release_of
from sluice.rollout.platforms.seldon.objects.routes import host_of, read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import read_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSnapshot:
    """What one round saw.

    Attributes:
        deployment: The SeldonDeployment.
        service: The VirtualService; None while the operator has not written one.
        pods: Of all predictors.
        hosts: Host by release, of the predictors.
        applied_weights: Per cents above 0 by release that the VirtualService says; None where its routes do not agree.
    """

    deployment: Mapping[str, Any]
    service: Mapping[str, Any] | None
    pods: Sequence[ServingPod]
    hosts: Mapping[str, str]
    applied_weights: Mapping[str, int] | None

    @property
    def predictors(self) -> list[dict[str, Any]]:
        """As they are."""
        return list(self.deployment.get("spec", {}).get("predictors") or [])

    def ready_pods(self, release: str | None) -> list[ServingPod]:
        """Of a release."""
        return [pod for pod in self.pods if pod.ready and pod.release == release]


def read_cluster_snapshot(cluster: Cluster, name: str) -> ClusterSnapshot | None:
    """Look at the SeldonDeployment of this name, its routes and its Pods; None where nothing was ever rolled out.

    Raises:
        ServiceError: The cluster does not answer.
    """
    deployment = cluster.get(SELDON_DEPLOYMENT, name)
    if deployment is None:
        return None
    service = cluster.get(VIRTUAL_SERVICE, name)
    found = cluster.list(POD, f"seldon-deployment-id={name}")
    predictors = deployment.get("spec", {}).get("predictors") or []
    hosts = {release_of(one): host_of(name, one["name"], cluster.namespace) for one in predictors if release_of(one)}
    applied = read_weights(service, {host: release for release, host in hosts.items()}) if service else {}
    return ClusterSnapshot(
        deployment=deployment, service=service, pods=[read_pod(pod) for pod in found], hosts=hosts, applied_weights=applied
    )
