"""Calls to the Kubernetes API server, with objects as plain dicts.

Every kind is addressed by its path, every call has a time limit, and every failure becomes an error of Sluice.
"""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.kubernetes_calls import (
    MERGE_PATCH,
    Kind,
    RefusedCallError,
    find_account,
    load_account,
    send_request,
)
from sluice.kubernetes_connections import QuickConnection, connect_quickly
from sluice.kubernetes_retries import PATIENCE_SECONDS, retry_call
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.server_times import ServerTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sluice.rollout.clocks import Clock

CONNECT_SECONDS, READ_SECONDS = 2.0, 5.0
"""Time limits of one call. A controller that waits for the API server cannot watch its canary."""


SELDON_DEPLOYMENT = Kind("machinelearning.seldon.io", "v1", "seldondeployments", "SeldonDeployment")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1beta1", "virtualservices", "VirtualService")
DESTINATION_RULE = Kind("networking.istio.io", "v1beta1", "destinationrules", "DestinationRule")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
MODEL_ROLLOUT = Kind("sluice.dev", "v1alpha1", "modelrollouts", "ModelRollout")
ROLLOUT_APPROVAL = Kind("sluice.dev", "v1alpha1", "rolloutapprovals", "RolloutApproval")
AUTOSCALER = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
EVENT = Kind("", "v1", "events", "Event")


class Cluster:
    """One namespace of a cluster.

    Attributes:
        namespace: The namespace of all objects.
        may_write: Says whether objects may be written now. A controller that has lost the lease may not.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - the client has no types
        namespace: str,
        patience_seconds: float = PATIENCE_SECONDS,
        limit_seconds: float = READ_SECONDS,
    ) -> None:
        """Use a connection. `connect` does that.

        Args:
            client: A `QuickConnection`, or a client of the package ``kubernetes``.
            namespace: The namespace of all objects.
            patience_seconds: How long a call is repeated while the API server cannot answer now.
            limit_seconds: The time limit of each read from the connection.
        """
        self._client, self.namespace, self._patience = client, namespace, patience_seconds
        self._limits = (min(CONNECT_SECONDS, limit_seconds), limit_seconds)
        self.may_write: Callable[[], bool] = lambda: True
        self._time = ServerTime()

    @property
    def clock(self) -> Clock:
        """The clock of the API server."""
        return self._time.clock

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """Return one object; None if it does not exist.

        Raises:
            ServiceError: The API server does not answer, or refuses.
        """
        return self._call("GET", kind.path(self.namespace, name), absent_is_none=True)

    def list(self, kind: Kind, selector: str) -> list[dict[str, Any]]:
        """Return the objects that a label selector matches; all objects if it is empty.

        Raises:
            ServiceError: The API server does not answer, or refuses.
        """
        query = {"labelSelector": selector} if selector else {}
        found = self._call("GET", kind.path(self.namespace), query=query)
        return list((found or {}).get("items") or [])

    def create(self, kind: Kind, body: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Create an object, and return it as stored.

        Args:
            kind: Its kind.
            body: Its fields, without ``apiVersion`` and ``kind``.
            manager: The field manager.

        Raises:
            ConflictError: The object exists already.
            ServiceError: The API server does not answer, or refuses.
        """
        planned = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        return self._call("POST", kind.path(self.namespace), query={"fieldManager": manager}, body=planned) or {}

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Change some fields of an object with a merge patch, and return the object as stored.

        Args:
            kind: Its kind.
            name: Its name.
            patch: The fields. With ``metadata.resourceVersion``, the change applies only to that version of the object.
            manager: The field manager.

        Raises:
            ConflictError: The object is at another version, or does not exist.
            ServiceError: The API server does not answer, or refuses.
        """
        path = kind.path(self.namespace, name)
        return self._call("PATCH", path, query={"fieldManager": manager}, body=patch, content=MERGE_PATCH) or {}

    def replace(self, kind: Kind, name: str, found: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Replace an object, so that it has no field that somebody else added, and return the object as stored.

        Args:
            kind: Its kind.
            name: Its name.
            found: The object as it was read, with the changes.
            manager: The field manager.

        Raises:
            ConflictError: The object has changed since it was read, or does not exist.
            ServiceError: The API server does not answer, or refuses.
        """
        return self._call("PUT", kind.path(self.namespace, name), query={"fieldManager": manager}, body=found) or {}

    def replace_status(self, kind: Kind, name: str, found: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Replace the whole status of an object, and return the object as stored. Nothing else of it changes.

        Args:
            kind: Its kind.
            name: Its name.
            found: The object as it was read, with the new status.
            manager: The field manager.

        Raises:
            ConflictError: The object has changed since it was read, or does not exist.
            ServiceError: The API server does not answer, or refuses.
        """
        path = kind.path(self.namespace, name) + "/status"
        return self._call("PUT", path, query={"fieldManager": manager}, body=found) or {}

    def scale(self, kind: Kind, name: str, replicas: int, *, manager: str) -> None:
        """Set the replicas of an object by its subresource ``scale``, as `kubectl scale` does.

        Raises:
            ConflictError: The object does not exist.
            ServiceError: The API server does not answer, or refuses.
        """
        path, patch = kind.path(self.namespace, name) + "/scale", {"spec": {"replicas": replicas}}
        self._call("PATCH", path, query={"fieldManager": manager}, body=patch, content=MERGE_PATCH)

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object. It is no error if the object does not exist."""
        self._call("DELETE", kind.path(self.namespace, name), absent_is_none=True)

    def watch(self, kind: Kind, name: str, seconds: int) -> Iterator[str]:
        """Yield the type of each change of one object, or of any object of the kind if `name` is empty, for some seconds.

        The types are those of the API server: ``ADDED``, ``MODIFIED``, ``DELETED`` and others. It is empty if it cannot be read.

        Raises:
            ServiceError: The API server does not answer, or refuses.
        """
        query = {"watch": "true", "timeoutSeconds": str(seconds)} | ({"fieldSelector": f"metadata.name={name}"} if name else {})
        path = kind.path(self.namespace)
        try:
            answer = self._request("GET", path, query, None, {}, (CONNECT_SECONDS, seconds + READ_SECONDS))
        except RefusedCallError as error:
            raise _translate(error, "GET", path) from error
        try:
            for line in answer:
                yield _read_change(line)
        except Exception as error:
            raise ServiceError(f"the watch on {name or kind.plural} ended: {error}") from error
        finally:
            answer.release_conn()

    def whoami(self) -> str:
        """Return the account name by which the API server knows this process.

        Raises:
            ServiceError: The API server does not answer, refuses, or returns no name.
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        review_result = self._call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review) or {}
        name = str(((review_result.get("status") or {}).get("userInfo") or {}).get("username") or "")
        if not name:
            raise ServiceError(
                "the API server does not return the name of this account",
                hint="Allow this account to create SelfSubjectReviews. Sluice needs the name to know whose approvals count.",
            )
        return name

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        absent_is_none: bool = False,
    ) -> dict[str, Any] | None:
        headers = {"Content-Type": content} if body is not None else {}
        if method != "GET" and not self.may_write():
            raise ServiceError(
                "this controller does not hold the lease any more, so it writes nothing",
                hint="The controller with the lease acts.",
            )
        try:
            answer = self._request(method, path, query or {}, body, headers, self._limits)
        except RefusedCallError as error:
            if absent_is_none and error.status == HTTPStatus.NOT_FOUND:
                return None
            raise _translate(error, method, path) from error
        try:
            document: dict[str, Any] = json.loads(answer.data)
        except ValueError as error:
            raise ServiceError(f"the API server's answer to {method} {path} is not JSON: {error}") from error
        return document

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - urllib3's response
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only a cluster needs it

        try:
            return retry_call(lambda: self._send(method, path, query, body, headers, timeout), method, seconds=self._patience)
        except (HTTPError, OSError) as error:
            raise ServiceError(
                f"the API server does not answer: {error}", hint="Check that the cluster is running and that KUBECONFIG names it."
            ) from error

    def _send(self, method: str, path: str, *rest: Any) -> Any:  # noqa: ANN401 - the parameters of `send_request`
        sent = time.monotonic()
        if isinstance(self._client, QuickConnection):
            answer = self._client.send(method, path, *rest)
        else:
            answer = send_request(self._client, method, path, *rest)
        self._time.observe(answer.headers.get("Date"), sent=sent, received=time.monotonic())
        return answer


def _translate(error: RefusedCallError, method: str, path: str) -> ServiceError:
    """Return a refusal as an error of Sluice."""
    if error.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
        return ConflictError(error.message, hint="Read the object again, and decide on what it contains now.")
    hint = "The account lacks a permission. The Roles in manifests/ contain it." if error.status == HTTPStatus.FORBIDDEN else ""
    return ServiceError(f"the API server refused {method} {path}: {error.message}", hint=hint or "Nothing was changed.")


def _read_change(line: bytes) -> str:
    try:
        return str(json.loads(line)["type"])
    except (ValueError, LookupError, TypeError):
        return ""


def connect(namespace: str = "", *, patience_seconds: float = PATIENCE_SECONDS, limit_seconds: float = READ_SECONDS) -> Cluster:
    """Connect to the cluster that this process runs in; outside a cluster, to the one of the kubeconfig's current context.

    Args:
        namespace: The namespace. If it is empty, that of the Pod or of the context is used.
        patience_seconds: How long a call is repeated while the API server cannot answer now.
        limit_seconds: The time limit of each read from the connection.

    Raises:
        ServiceError: This process runs in no cluster, and there is no kubeconfig.
    """
    if (connection := connect_quickly()) is not None:
        return Cluster(connection, namespace or connection.namespace, patience_seconds, limit_seconds)
    from kubernetes import client, config  # noqa: PLC0415 - a second of imports that few kubeconfigs need
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    settings = client.Configuration()
    settings.retries = False  # `retry_call` repeats what may be repeated
    try:
        if account := find_account():
            own = load_account(settings, account)
        else:
            config.load_kube_config(client_configuration=settings)
            own = config.list_kube_config_contexts()[1].get("context", {}).get("namespace", "default")
    except (ConfigException, OSError) as error:
        raise ServiceError(f"no cluster can be reached: {error}", hint="Set KUBECONFIG, or run this in a cluster.") from error
    return Cluster(client.ApiClient(settings), namespace or own, patience_seconds, limit_seconds)
