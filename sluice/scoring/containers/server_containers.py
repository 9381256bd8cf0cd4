"""The container that serves a release, and what its server is asked and told by name. Pure, and quick to import."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 9000
PREDICT_PATH = "/api/v1.0/predictions"
HEALTH_PATH = "/health/status"

FOLDER_VARIABLE = "SLUICE_RELEASE_FOLDER"
"""Environment variable with the folder of the unpacked model layer that a server serves."""

DIGEST_VARIABLE = "SLUICE_RELEASE_DIGEST"
"""Environment variable with the digest that the layer must have. The deployment sets it, and the image never contains it."""


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
