"""What every call to a Kubernetes API server has in common: how a kind is addressed, one request, and the text of a refusal.

The controller and the engine for Argo have their own limits, errors and sets of calls (`sluice.rollout.platforms.seldon.api`,
`sluice.engines.argo.api_server`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MERGE_PATCH, APPLY_PATCH = "application/merge-patch+json", "application/apply-patch+yaml"
"""Media types of a merge patch and of a server-side apply."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of namespaced object.

    Attributes:
        group: API group; empty for the core group.
        version: Version of the group.
        plural: The name in paths, for example ``pods``.
        name: The name in the field ``kind``, for example ``Pod``.
    """

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        """The value of the field ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of one object; without a name, the path of all objects in a namespace."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


POD = Kind("", "v1", "pods", "Pod")


def send_request(
    client: Any,  # noqa: ANN401 - the client has no types
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
    timeout: tuple[float, float],
) -> Any:  # noqa: ANN401 - urllib3's response
    """Send one request with an ``ApiClient`` of the package ``kubernetes``, and return the response before it is read.

    Args:
        client: The client.
        method: The HTTP method.
        path: The path.
        query: The parameters.
        body: The object to send; None for a request without a body.
        headers: Further headers.
        timeout: Time limits of the connection and of each read, in seconds.

    Raises:
        kubernetes.client.exceptions.ApiException: The API server refused. `read_refusal` returns its message.
        urllib3.exceptions.HTTPError: It does not answer.
    """
    return client.call_api(
        path,
        method,
        query_params=list(query.items()),
        header_params={"Accept": "application/json", **headers},
        body=dict(body) if body is not None else None,
        auth_settings=["BearerToken"],
        _preload_content=False,
        _request_timeout=timeout,
    )[0]


def read_refusal(error: Any) -> str:  # noqa: ANN401 - the client has no types
    """Return the message of the Status object with which the API server refused."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, LookupError):
        return f"{error.status} {error.reason}"
