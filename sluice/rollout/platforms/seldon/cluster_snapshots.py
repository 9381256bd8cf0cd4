"""The cluster snapshot: the Kubernetes objects that one control round read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.kubernetes_calls import POD
from sluice.rollout.platforms.seldon.api import SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from sluice.rollout.platforms.seldon.objects.predictors import DEPLOYMENT_LABEL, read_predictor_digest
from sluice.rollout.platforms.seldon.objects.routes import build_service_host, read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import read_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSnapshot:
    """The Kubernetes objects that one control round read.

    Attributes:
        rollout: The ModelRollout.
        deployment: The SeldonDeployment; None before the first release.
        service: The VirtualService; None while the operator has not written one.
        pods: The Pods of all predictors.
        hosts: The host of each release's Service, by release.
        applied_weights: Per cents above 0 by release, as the VirtualService has them; None if its routes differ from each other.
    """

    rollout: Mapping[str, Any]
    deployment: Mapping[str, Any] | None
    service: Mapping[str, Any] | None
    pods: Sequence[ServingPod]
    hosts: Mapping[str, str]
    applied_weights: Mapping[str, int] | None

    @property
    def predictors(self) -> list[dict[str, Any]]:
        """The predictors of the SeldonDeployment, in their order."""
        return list((self.deployment or {}).get("spec", {}).get("predictors") or [])

    @property
    def releases(self) -> list[str]:
        """The releases of the predictors, in their order."""
        return [read_predictor_digest(one) for one in self.predictors]

    def ready_pods(self, release: str | None) -> list[ServingPod]:
        """Return the ready Pods of a release."""
        return [pod for pod in self.pods if pod.ready and pod.release == release]


def read_cluster_snapshot(cluster: Cluster, name: str, rollout: Mapping[str, Any]) -> ClusterSnapshot:
    """Read a SeldonDeployment with its routes and its Pods.

    Args:
        cluster: The namespace.
        name: Name of the SeldonDeployment.
        rollout: The ModelRollout, which was read before.

    Raises:
        ServiceError: The API server does not answer, or refuses.
    """
    deployment = cluster.get(SELDON_DEPLOYMENT, name)
    service = cluster.get(VIRTUAL_SERVICE, name)
    pods = [read_pod(pod) for pod in cluster.list(POD, f"{DEPLOYMENT_LABEL}={name}")]
    predictors = (deployment or {}).get("spec", {}).get("predictors") or []
    hosts = {
        read_predictor_digest(one): build_service_host(name, one["name"], cluster.namespace)
        for one in predictors
        if read_predictor_digest(one)
    }
    applied = read_weights(service, {host: release for release, host in hosts.items()}) if service else {}
    return ClusterSnapshot(
        rollout=rollout, deployment=deployment, service=service, pods=pods, hosts=hosts, applied_weights=applied
    )
