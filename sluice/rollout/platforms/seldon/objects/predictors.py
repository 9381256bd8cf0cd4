"""The predictors of a SeldonDeployment: one for each release, named by the release, appended and never reordered. Pure.

Their form follows from how the operator works (Seldon Core 1.17.1). The name of a predictor becomes that of its Deployment. The
operator assigns undeclared ports by position, so removing one predictor would restart the others. It copies annotations in
``spec`` to the Pods, so state must be in ``metadata``. It does not route to a predictor before it has replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.scoring.containers.server_containers import (
    DIGEST_VARIABLE,
    PORT,
    TIMEOUT_ANNOTATION,
    WORKERS_VARIABLE,
    plan_probes,
    plan_request_timeout,
    plan_server_container,
    plan_server_pod_spec,
    plan_server_variables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.project.settings import Settings
    from sluice.rollout.decisions.states import Journal

RELEASE_ANNOTATION = "sluice.dev/release"
"""Annotation of a predictor: the release that it serves."""

PREDICTOR_LABEL = "sluice.dev/predictor"
"""Label of a Pod: the predictor that it belongs to."""

DEPLOYMENT_LABEL = "seldon-deployment-id"
"""Label that Seldon's operator gives to all Pods of a SeldonDeployment: its name."""

CONTAINER = "model"
HTTP_PORT, GRPC_PORT, METRICS_PORT = PORT, 9500, 6000
_NAME_HEX = 8


@dataclass(frozen=True, slots=True)
class PackagedRelease:
    """A release as a cluster runs it.

    Attributes:
        digest: The release.
        number: Its number in the release store.
        image: Its image by digest.
    """

    digest: str
    number: int
    image: str

    @property
    def predictor(self) -> str:
        """The predictor's name."""
        return name_predictor(self.digest, self.number)


def name_predictor(digest: str, number: int) -> str:
    """Return the name of a release's predictor: its number, and digits of its digest, because two stores may use one number."""
    return f"r{number}-{digest.removeprefix('sha256:')[:_NAME_HEX]}"


def list_served_releases(journal: Journal) -> dict[str, PackagedRelease]:
    """Return the releases that need a predictor, by digest: the champion, N-1 and the canary."""
    named = [PackagedRelease(term.release, term.number, term.image) for term in journal.history[-2:]]
    if journal.request is not None:
        named.append(PackagedRelease(journal.request.release, journal.request.number, journal.request.image))
    return {one.digest: one for one in named}


def name_role(journal: Journal, release: str) -> str:
    """Return what a served release is at present: ``champion``, ``canary`` or ``previous``."""
    return "champion" if release == journal.champion else "canary" if release == journal.target else "previous"


def build_predictor(release: PackagedRelease, settings: Settings, *, replicas: int) -> dict[str, Any]:
    """Return the predictor of a release, without traffic."""
    labels = {
        "app.kubernetes.io/part-of": settings.project.name,
        PREDICTOR_LABEL: release.predictor,
        "version": release.predictor,
    }
    graph: dict[str, Any] = {"name": CONTAINER, "type": "MODEL", "endpoint": {"type": "REST"}, "children": []}
    if settings.seldon.request_log_url:
        graph["logger"] = {"mode": "all", "url": settings.seldon.request_log_url}
    return {
        "name": release.predictor,
        "replicas": replicas,
        "traffic": 0,
        # The executor's metrics carry this as predictor_version; the label is what Istio's subset selects.
        "annotations": {RELEASE_ANNOTATION: release.digest, "version": release.predictor},
        "labels": {"version": release.predictor},
        "graph": graph,
        "componentSpecs": [{"metadata": {"labels": labels}, "spec": _build_pod(release, settings)}],
    }


def read_predictor_digest(predictor: Mapping[str, Any]) -> str:
    """Return the release that a predictor serves; empty if it is not one of Sluice's.

    The environment variable of its server says it, because others may edit the annotations.
    """
    models = (find_model_container(component.get("spec") or {}) for component in predictor.get("componentSpecs") or [])
    return next((digest for model in models if (digest := read_container_digest(model))), "")


def find_model_container(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container of a Pod's spec that serves the release; empty if there is none."""
    return next((one for one in spec.get("containers") or [] if one.get("name") == CONTAINER), {})


def read_container_digest(model: Mapping[str, Any]) -> str:
    """Return the release that a server has to serve, from its environment variable; empty if it is not set."""
    return next((str(one.get("value", "")) for one in model.get("env") or [] if one.get("name") == DIGEST_VARIABLE), "")


def build_deployment(settings: Settings, spec: Mapping[str, Any], predictors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a SeldonDeployment, without ``apiVersion`` and ``kind``."""
    return {
        "metadata": {
            "name": deployment_name(settings),
            "labels": {"app.kubernetes.io/part-of": settings.project.name},
        },
        "spec": dict(spec) | {"predictors": [dict(predictor) for predictor in predictors]},
    }


def build_spec(settings: Settings) -> dict[str, Any]:
    """Return the spec of a SeldonDeployment without its predictors."""
    return {"name": deployment_name(settings), "protocol": "seldon", "annotations": _build_annotations(settings)}


def deployment_name(settings: Settings) -> str:
    """Return the name of the project's SeldonDeployment."""
    return settings.seldon.name or settings.project.name


def _build_annotations(settings: Settings) -> dict[str, str]:
    annotations = {TIMEOUT_ANNOTATION: plan_request_timeout(settings)}
    if settings.seldon.gateway:
        annotations["seldon.io/istio-gateway"] = settings.seldon.gateway
    if settings.seldon.host:
        annotations["seldon.io/istio-host"] = settings.seldon.host
    return annotations


def _build_pod(release: PackagedRelease, settings: Settings) -> dict[str, Any]:
    spec = plan_server_pod_spec(_build_container(release, settings))
    if settings.seldon.service_account:
        spec["serviceAccountName"] = settings.seldon.service_account
    if settings.seldon.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.seldon.pull_secrets]
    return spec


def _build_container(release: PackagedRelease, settings: Settings) -> dict[str, Any]:
    variables = {WORKERS_VARIABLE: str(settings.seldon.workers), **plan_server_variables(settings)}
    return plan_server_container(
        CONTAINER,
        release.image,
        release.digest,
        variables,
        ports=[
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        **plan_probes(settings),
        # Kubernetes copies the end of the log into the Pod's status if the server fails, so that the controller can say why
        # without the right to read logs.
        terminationMessagePolicy="FallbackToLogsOnError",
        resources={"requests": dict(settings.seldon.requests), "limits": dict(settings.seldon.limits)},
    )
