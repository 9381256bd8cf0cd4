"""The table ``[seldon]``: production in a Kubernetes cluster."""

from __future__ import annotations

from pydantic import Field

from sluice.project.base import Table


class SeldonTable(Table):
    """``[seldon]``: production in a cluster, where ``rollout.splitter`` is ``seldon``."""

    name: str = Field(default="", description="Name of the SeldonDeployment; empty for the project's.")
    namespace: str = Field(default="", description="Its namespace; empty for the Pod's own, or the kubeconfig's.")
    replicas: int = Field(default=1, ge=1, description="Replicas of a release; a canary gets as many as the champion has.")
    requests: dict[str, str] = Field(
        default={"cpu": "100m", "memory": "384Mi"}, description="Resources that each replica of the model asks for."
    )
    workers: int = Field(default=2, ge=1, description="Processes of a replica that answer; each holds the model, about 100 MB.")
    limits: dict[str, str] = Field(default={}, description="Resources that each replica of the model may use.")
    service_account: str = Field(default="", description="Account of the model's Pods; its token is not mounted.")
    pull_secrets: list[str] = Field(default=[], description="Secrets that the registry of releases wants.")
    gateway: str = Field(default="", description="Istio gateway, `namespace/name`; empty for the operator's.")
    host: str = Field(default="", description="Host that the gateway routes; empty for all.")
    request_log_url: str = Field(default="", description="Where executors send requests and answers to, for the drift monitor.")
    url: str = Field(default="", description="Where users reach the gateway; for status and reports only.")
    drain_seconds: float = Field(default=30.0, ge=0, description="Between a release's last traffic and its removal.")
    look_seconds: float = Field(default=1.0, gt=0, le=30, description="Between two looks at the executors' counters.")
    lease_seconds: float = Field(default=15.0, ge=2, description="How long a controller that vanished keeps others from acting.")
