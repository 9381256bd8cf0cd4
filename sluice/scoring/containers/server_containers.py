"""The container that serves a release, and what its server is asked and told by name. Pure, and quick to import."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sluice.scoring.faults import plan_faults_variables
from sluice.scoring.recent_requests import plan_recent_requests_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.settings import Settings

PORT = 9000
PREDICT_PATH = "/api/v1.0/predictions"
HEALTH_PATH = "/health/status"
WORKERS_VARIABLE = "GUNICORN_WORKERS"

TIMEOUT_ANNOTATION = "seldon.io/rest-timeout"
"""Annotation with the time limit of a request in milliseconds. The executor gives up after it."""

FOLDER_VARIABLE = "SLUICE_RELEASE_FOLDER"
"""Environment variable with the folder of the unpacked model layer that a server serves."""

DIGEST_VARIABLE = "SLUICE_RELEASE_DIGEST"
"""Environment variable with the digest that the layer must have. The deployment sets it, and the image never contains it."""


START_VARIABLE = "SLUICE_START_SECONDS"
"""Environment variable with the time limit for loading the release, in seconds."""

SILENCE_VARIABLE = "SLUICE_SILENCE_SECONDS"
"""Environment variable with the seconds after which a worker that gives no sign of life is replaced."""

_LEAST_SILENCE_SECONDS = 8
_SILENCE_MARGIN_SECONDS = 3


def plan_server_variables(settings: Settings) -> dict[str, str]:
    """Return the environment variables of a server in production. The integration tests give their server the same ones.

    A worker may be silent for a little longer than a request may take, because some models keep the interpreter for a whole call.
    """
    rollout = settings.rollout
    silence = max(_LEAST_SILENCE_SECONDS, math.ceil(rollout.request_timeout_seconds) + _SILENCE_MARGIN_SECONDS)
    return {
        START_VARIABLE: f"{settings.serving.start_timeout_seconds:g}",
        SILENCE_VARIABLE: str(silence),
        **plan_recent_requests_variables(rollout.shadow_requests),
        **plan_faults_variables(show_values=rollout.show_values),
    }


def plan_request_timeout(settings: Settings) -> str:
    """Return the value of `TIMEOUT_ANNOTATION`."""
    return str(round(settings.rollout.request_timeout_seconds * 1000))


def plan_probes(settings: Settings) -> dict[str, Any]:
    """Return the probes of a server's container.

    A start may take as long as the settings allow. From then on, a server that hangs gets no requests after 8 seconds, and is
    killed at that time: a probe begins at most 2 seconds after the server has stopped, and three have to fail in a row, each of
    which waits for 2 seconds. The server gets only 2 seconds to end, because a stopped process does not react to SIGTERM.
    """
    health = {"httpGet": {"path": HEALTH_PATH, "port": "http"}, "timeoutSeconds": 2}
    regular = {"periodSeconds": 2, "failureThreshold": 3}
    start = {"periodSeconds": 1, "failureThreshold": math.ceil(settings.serving.start_timeout_seconds)}
    return {
        "startupProbe": health | start,
        "readinessProbe": health | regular,
        "livenessProbe": health | regular | {"terminationGracePeriodSeconds": 2},
    }


def plan_server_container(
    name: str,
    image: str,
    digest: str,
    variables: Mapping[str, str] = MappingProxyType({}),
    **fields: Any,  # noqa: ANN401 - fields of a Pod's container
) -> dict[str, Any]:
    """Return the container that serves a release, with minimal rights. It needs the Pod spec of `plan_server_pod_spec`.

    Args:
        name: The name of the container.
        image: The release's image, by digest.
        digest: The digest of the release. The container gets it from here, never from the image that it verifies.
        variables: Additional environment variables.
        fields: Additional fields of the container.
    """
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in {DIGEST_VARIABLE: digest, **variables}.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's own
        **fields,
    }


def plan_server_pod_spec(container: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Pod for the container of `plan_server_container`."""
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [container],
    }
