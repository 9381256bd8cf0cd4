"""What every call to a Kubernetes API server has in common: a Pod's account, how a kind is addressed, one request, and a refusal.

The controller and the engine for Argo have their own limits, errors and sets of calls (`sluice.rollout.platforms.seldon.api`,
`sluice.engines.argo.api_server`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP_ACCOUNT = Path("/var/run/secrets/sluice.dev/serviceaccount")
"""Where Sluice mounts the token of a step's own account on KFP, which runs all steps of a pipeline as one account."""

SIGNING_KEY = Path("/var/run/secrets/sluice.dev/signing/key.pem")
"""Where Sluice mounts the private key of a step that signs."""

POD_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the token of the Pod's account."""

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
        """Return the path of one object; without a name, the path of all objects in a namespace. Names are escaped."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{quote(namespace, safe='')}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


POD = Kind("", "v1", "pods", "Pod")


class RefusedCallError(Exception):
    """The API server refused a call. The caller makes an error with a hint of it.

    Attributes:
        status: The status of the answer; 0 if there is none.
        message: The reason that the API server gave.
        retry_after: After how many seconds the API server wants to be asked again; None if it does not say.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def find_account() -> Path | None:
    """Return the folder with the token with which this process calls the API server; None if it is in no Pod or has no token."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return None
    return next((folder for folder in (STEP_ACCOUNT, POD_ACCOUNT) if (folder / "token").is_file()), None)


def load_account(configuration: Any, folder: Path) -> str:  # noqa: ANN401 - the client has no types
    """Let a ``Configuration`` of the package ``kubernetes`` use an account, and return the namespace of the account.

    Args:
        configuration: The configuration. It reads the token again each minute, because Kubernetes replaces it.
        folder: The folder that `find_account` found.

    Raises:
        kubernetes.config.config_exception.ConfigException: The folder lacks the certificate, or a file is empty.
        OSError: A file cannot be read.
    """
    from kubernetes.config.incluster_config import InClusterConfigLoader  # noqa: PLC0415 - a second of imports

    loader = InClusterConfigLoader(token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt"))
    loader.load_and_set(configuration)
    return (folder / "namespace").read_text(encoding="utf-8").strip()


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
        RefusedCallError: The API server refused.
        urllib3.exceptions.HTTPError: It does not answer.
    """
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - the client's package is imported already

    try:
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
    except ApiException as error:
        raise read_refusal(error) from error


def read_refusal(error: Any) -> RefusedCallError:  # noqa: ANN401 - an ApiException, whose package has no types
    """Return the refusal in an ``ApiException`` of the package ``kubernetes``."""
    message = read_message(error.body, f"{error.status} {error.reason}")
    return RefusedCallError(int(error.status or 0), message, read_retry_after(error.headers))


def read_retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Return the seconds in the header ``Retry-After``; None if it is missing or is a date, which Kubernetes never sends."""
    text = (headers or {}).get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None


def read_message(content: Any, otherwise: str) -> str:  # noqa: ANN401 - the body of an answer, as text or bytes
    """Return the message of the Status object with which the API server refused; `otherwise` if the answer is none."""
    try:
        return str(json.loads(content)["message"])
    except (TypeError, ValueError, LookupError):
        return otherwise
