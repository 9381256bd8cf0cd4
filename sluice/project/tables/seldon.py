"""The table ``[seldon]``: production in a Kubernetes cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sluice.project.base import Table

MetricsUrl = Annotated[str, StringConstraints(pattern=r"^http://[^/\s]+/\S*$")]
"""URL of metrics. It is plain HTTP, because each address of its host is asked by itself, and certificates name no addresses."""


class SeldonTable(Table):
    """``[seldon]``: production in a cluster. It is used if ``rollout.splitter`` is ``seldon``."""

    name: str = Field(
        default="", description="Name of the ModelRollout and of the SeldonDeployment. If empty, the name of the project."
    )
    namespace: str = Field(
        default="",
        description="Namespace of the ModelRollout and of the SeldonDeployment. If empty, that of the Pod or of the kubeconfig.",
    )
    replicas: int = Field(default=1, ge=1, description="Replicas of a release. A canary has as many as the champion.")
    requests: dict[str, str] = Field(
        default={"cpu": "100m", "memory": "384Mi"}, description="Resource requests of each replica of the model."
    )
    workers: int = Field(
        default=2, ge=1, description="Processes of a replica that answer requests. Each loads the model and takes about 100 MB."
    )
    limits: dict[str, str] = Field(default={}, description="Resource limits of each replica of the model.")
    service_account: str = Field(default="", description="Service account of the model's Pods. Its token is not mounted.")
    pull_secrets: list[str] = Field(default=[], description="Image pull secrets for the registry of releases.")
    gateway: str = Field(
        default="", description="Istio gateway, as `namespace/name`. If empty, the gateway of Seldon's operator."
    )
    host: str = Field(default="", description="Host for which the gateway routes traffic. If empty, all hosts.")
    request_log_url: str = Field(
        default="", description="URL to which the executors send requests and answers, for the drift monitor."
    )
    url: str = Field(
        default="",
        description="URL of the model at the gateway, with its path: http://GATEWAY/seldon/NAMESPACE/NAME. The status shows it, "
        "and the controller asks it before it promotes a first release.",
    )
    counters: Literal["gateway", "executors"] = Field(
        default="gateway",
        description="What counts as evidence: requests that the gateway's metrics have as well (`gateway`), or all that the "
        "executors answered (`executors`). With the latter, any Pod that reaches an executor can decide a rollout.",
    )
    gateway_metrics: MetricsUrl = Field(
        default="http://sluice-gateway-metrics.istio-system:15020/stats/prometheus",
        description="URL of the metrics of the gateway's proxies. Each address of its host is one proxy.",
    )
    drain_seconds: float = Field(default=30.0, ge=0, description="Time between the last traffic of a release and its removal.")
    look_seconds: float = Field(default=1.0, gt=0, le=30, description="Time between two readings of the counters.")
    lease_seconds: float = Field(
        default=3.0,
        ge=2,
        le=60,
        description="How long the lease of a controller that has stopped keeps other controllers from acting.",
    )
