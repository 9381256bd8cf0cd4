"""What a SeldonDeployment says of the releases: one predictor each, named by release, appended and never reordered. Pure.

The operator's ways that these shapes answer (Seldon Core 1.17.1): a predictor's name is its Deployment's; ports that are not
declared are given by position, so that removing one predictor would restart the others; annotations in ``spec`` are copied to
the Pods, so that state must lie in ``metadata``; a predictor is not routed to before it has replicas.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.scoring.recent_requests import plan_recent_requests_variables
from sluice.scoring.release_client import HEALTH_PATH
from sluice.scoring.release_pods import PORT, plan_server_container, plan_server_pod_spec
from sluice.scoring.scorer import DIGEST_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sluice.project.settings import Settings
    from sluice.rollout.decisions.states import Journal

RELEASE_ANNOTATION = "sluice.dev/release"
"""Of a predictor: the release that it serves."""

PREDICTOR_LABEL = "sluice.dev/predictor"
"""Of a Pod: the predictor that it belongs to."""

CONTAINER = "model"
WORKERS_VARIABLE = "GUNICORN_WORKERS"
HTTP_PORT, GRPC_PORT, METRICS_PORT = PORT, 9500, 6000
_NAME_HEX = 8


@dataclass(frozen=True, slots=True)
class Packaged:
    """A release as a cluster runs it.

    Attributes:
        digest: The release.
        number: In its store.
        image: By digest.
    """

    digest: str
    number: int
    image: str

    @property
    def predictor(self) -> str:
        """Name of its predictor: the number for people, and enough of the digest to tell two stores' numbers apart."""
        return f"r{self.number}-{self.digest.removeprefix('sha256:')[:_NAME_HEX]}"


def list_packaged(journal: Journal) -> dict[str, Packaged]:
    """The releases that have a place, by digest: the champion, N-1 and the canary."""
    named = [Packaged(term.release, term.number, term.image) for term in journal.history[-2:]]
    if journal.request is not None:
        named.append(Packaged(journal.request.release, journal.request.number, journal.request.image))
    return {one.digest: one for one in named}


def plan_predictor(release: Packaged, settings: Settings, *, replicas: int) -> dict[str, Any]:
    """The predictor of a release, without traffic."""
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
        "componentSpecs": [{"metadata": {"labels": labels}, "spec": _plan_pod(release, settings)}],
    }


def release_of(predictor: Mapping[str, Any]) -> str:
    """The release that a predictor serves, by what its server is told, which no edit of annotations changes; empty: not ours."""
    models = (find_model(component.get("spec") or {}) for component in predictor.get("componentSpecs") or [])
    return next((digest for model in models if (digest := read_digest(model))), "")


def find_model(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container of a Pod's spec that serves the release; empty where there is none."""
    return next((one for one in spec.get("containers") or [] if one.get("name") == CONTAINER), {})


def read_digest(model: Mapping[str, Any]) -> str:
    """The release that a server is told to serve; empty where it is told none."""
    return next((str(one.get("value", "")) for one in model.get("env") or [] if one.get("name") == DIGEST_VARIABLE), "")


def plan_predictors(
    live: Sequence[Mapping[str, Any]],
    journal: Journal,
    settings: Settings,
    *,
    draining: Iterable[str] = (),
    held_for_approval: bool = False,
) -> list[dict[str, Any]]:
    """The predictors that the journal wishes.

    Those that are there stay as they are, whoever changed them, but for the traffic; those that have no place go.

    Args:
        live: As they are in the cluster.
        journal: Where everything stands.
        settings: The project's.
        draining: Releases that lost their place and still answer what they were sent.
        held_for_approval: The first release is not approved yet: it gets no replicas, since what stands alone takes all the
            traffic.
    """
    named = list_packaged(journal)
    kept = {*named, *draining}
    planned = [copy.deepcopy(dict(predictor)) for predictor in live if release_of(predictor) in kept]
    there = {release_of(predictor) for predictor in planned}
    replicas = _count_replicas(planned, journal, settings)
    planned += [
        plan_predictor(release, settings, replicas=0 if held_for_approval else replicas)
        for digest, release in named.items()
        if digest not in there
    ]
    if not planned:  # the operator takes none without predictors: what was refused last stays, without replicas
        planned = [copy.deepcopy(dict(predictor)) | {"replicas": 0} for predictor in live[:1]]
    elif not held_for_approval:
        started = {"replicas": replicas}
        planned = [one | started if release_of(one) in named and one.get("replicas") == 0 else one for one in planned]
    return [one | {"traffic": journal.weights.get(release_of(one), 0)} for one in planned]


def plan_deployment(settings: Settings, predictors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a SeldonDeployment that are Sluice's own, for server-side apply."""
    return {
        "metadata": {
            "name": deployment_name(settings),
            "labels": {"app.kubernetes.io/part-of": settings.project.name},
        },
        "spec": {
            "name": deployment_name(settings),
            "protocol": "seldon",
            "annotations": _plan_annotations(settings),
            "predictors": [dict(predictor) for predictor in predictors],
        },
    }


def deployment_name(settings: Settings) -> str:
    """Name of the project's SeldonDeployment."""
    return settings.seldon.name or settings.project.name


def _count_replicas(planned: Sequence[Mapping[str, Any]], journal: Journal, settings: Settings) -> int:
    """As many as the champion has now: a canary ends with all of its traffic."""
    champion = [int(one.get("replicas") or 0) for one in planned if release_of(one) == journal.champion]
    return max([settings.seldon.replicas, *champion])


def _plan_annotations(settings: Settings) -> dict[str, str]:
    annotations = {"seldon.io/rest-timeout": str(round(settings.rollout.request_timeout_seconds * 1000))}
    if settings.seldon.gateway:
        annotations["seldon.io/istio-gateway"] = settings.seldon.gateway
    if settings.seldon.host:
        annotations["seldon.io/istio-host"] = settings.seldon.host
    return annotations


def _plan_pod(release: Packaged, settings: Settings) -> dict[str, Any]:
    spec = plan_server_pod_spec(_plan_container(release, settings))
    if settings.seldon.service_account:
        spec["serviceAccountName"] = settings.seldon.service_account
    if settings.seldon.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.seldon.pull_secrets]
    return spec


def _plan_container(release: Packaged, settings: Settings) -> dict[str, Any]:
    variables = {
        WORKERS_VARIABLE: str(settings.seldon.workers),
        **plan_recent_requests_variables(settings.rollout.shadow_requests),
    }
    health = {"httpGet": {"path": HEALTH_PATH, "port": "http"}}
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
        readinessProbe=health | {"periodSeconds": 2, "timeoutSeconds": 2},
        livenessProbe=health | {"initialDelaySeconds": 60, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        resources={"requests": dict(settings.seldon.requests), "limits": dict(settings.seldon.limits)},
    )
